/* SPDX-License-Identifier: MIT */
/*
 * A front-end's messages as a line of words, so that what was recorded of a real one can stand in a
 * table and be sent again, in the same order and with the same wish for answers.
 *
 *   features? protocol? queues? slots? status?   GET_…
 *   features= features=all features=plain        what was agreed; all that is offered; without bit
 *                                                30
 *   protocol= owner channel table add reset      what their names say; `channel` is
 * SET_BACKEND_REQ_FD status=15 config=24 mtu=1500                 config: of so many bytes, from 0
 *   num0 addr0 kick0 call0 err0 enable0=1        about ring 0
 *   call1=0                                      ring 1 with the call fd of ring 0
 *   kicked0                                      VRING_KICK, the message
 *   base0 base0=kept base0=avail                 SET_VRING_BASE: the driver's; as base0? told;
 * behind what is available base0?                                       GET_VRING_BASE
 *
 * With `!` behind it a word asks for an answer, where the protocol feature is agreed on.
 */
#pragma once

#include "testbed.h"

struct front_end_script {
    struct testbed_nic *nic; /* borrowed */
    const char *name;        /* of the front-end, for what fails */
    int pipes;               /* call fds and the channel are pipes, as UML's */
    uint32_t kept[FRONT_END_VRINGS_MAX];
};

/* Fails the test at the first word that is refused. */
void front_end_play(struct front_end_script *script, const char *words);
