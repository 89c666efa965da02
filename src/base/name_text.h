/* SPDX-License-Identifier: MIT */
/* Names that operators give to things: letters, digits, - and _. */
#pragma once

#include "base/error.h"

/* -EINVAL and a sentence, unless `name` has 1 to `most` of these characters; `what` it is a name of
 * stands in the sentence. */
int name_text_check(const char *what, const char *name, unsigned most, struct error *err);
