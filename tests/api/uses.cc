/* SPDX-License-Identifier: MIT */
#include "uses.h"
