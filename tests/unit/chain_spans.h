/* SPDX-License-Identifier: MIT */
/* What a popped chain has to point to, whatever the ring's format. */
#pragma once

#include "check.h"
#include "driver_ring.h"
#include "guest_ram.h"
#include "ring/virtqueue.h"

/* The spans of a chain are exactly these buffers' bytes. */
static inline void chain_expect_spans(struct guest_ram *ram, const struct chain *chain,
                                      const struct driver_buffer *buffer, unsigned count)
{
    const struct iovec *iov = chain->iov;
    size_t at = 0;

    assert_int_equal(chain->fault, CHAIN_FAULT_NONE);
    for (unsigned i = 0; i < count; i++) {
        for (uint32_t byte = 0; byte < buffer[i].len; byte++) {
            if (at == iov->iov_len) {
                iov++;
                at = 0;
            }
            assert_true((uint8_t *)iov->iov_base + at ==
                        guest_ram_at(ram, buffer[i].gpa + byte, 1));
            at++;
        }
    }
    assert_int_equal(iov - chain->iov + 1, chain->readable_count + chain->writable_count);
    assert_int_equal(at, iov->iov_len);
}
