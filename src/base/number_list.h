/* SPDX-License-Identifier: MIT */
#pragma once

/* "0-1,4": numbers and ranges, in the order written; '+' does for ','. Returns how many it stored,
 * -EINVAL: the text is no such list; -ERANGE: a number is above max; -E2BIG: more than `room`. */
int number_list_parse(const char *text, unsigned max, unsigned *ret_numbers, unsigned room);
