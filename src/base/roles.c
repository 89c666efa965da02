/* SPDX-License-Identifier: MIT */
#include "base/roles.h"

struct role role_data;
