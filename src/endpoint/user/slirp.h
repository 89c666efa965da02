/* SPDX-License-Identifier: MIT */
/* libslirp's header, wherever the distribution or pkg-config puts it. */
#pragma once

#if __has_include(<libslirp.h>)
#include <libslirp.h>
#else
#include <slirp/libslirp.h>
#endif
