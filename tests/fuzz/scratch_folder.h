/* SPDX-License-Identifier: MIT */
/* A folder for the sockets of a target, made once and gone with the process. */
#pragma once

const char *scratch_folder(void);
