/* SPDX-License-Identifier: MIT */
/*
 * What the build says about the sandbox: builds with sanitizers get some calls more, because their
 * runtimes watch the process from within (a leak check attaches to every thread, reports look
 * functions up in files).
 */
#pragma once

#ifndef __has_feature
#define __has_feature(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANDBOX_BUILD_SANITIZED 1
#else
#define SANDBOX_BUILD_SANITIZED 0
#endif
