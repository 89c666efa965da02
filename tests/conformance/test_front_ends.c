/* SPDX-License-Identifier: MIT */
/*
 * Front-ends, each with its own order of messages: bring-up, traffic both ways, its way of stopping
 * and of beginning anew, pause and resume of the machine, and a reconnect. Orders marked "recorded"
 * were taken down between that front-end and vionic; the others follow its source or its
 * documentation.
 */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "front_end_script.h"

#define PF_QEMU_7                                                                                  \
    (VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_MTU | VU_PF_BACKEND_REQ | VU_PF_CROSS_ENDIAN |             \
     VU_PF_BACKEND_SEND_FD | VU_PF_RESET_DEVICE | VU_PF_CONFIGURE_MEM_SLOTS | VU_PF_STATUS)
#define PF_CLOUD_HYPERVISOR (VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_CONFIG)
#define PF_UML              (VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_CONFIG)

/* One ring with answers to all, as rust-vmm's front-end library sends them. */
#define CH_RING(n)         "addr" n "! base" n "! call" n "! kick" n "! "
#define CH_STOP(n)         "enable" n "=0! base" n "? "
#define CROSVM_RING(n)     "num" n "! addr" n "! base" n "! call" n "! kick" n "! enable" n "=1! "
#define KRUN_RING(n, call) "num" n " base" n " addr" n " kick" n " " call " enable" n "=1 "
#define VMM_RING(n)        "num" n "! addr" n "! base" n "! kick" n "! call" n "! enable" n "=1! "
#define VMM_KEPT(n)        "num" n "! addr" n "! base" n "=kept! kick" n "! call" n "! enable" n "=1! "
#define QEMU_RING(n)       "num" n " base" n " addr" n " kick" n " call" n " "
#define QEMU_KEPT(n)       "num" n " base" n "=kept addr" n " kick" n " call" n " "
#define DPDK_RING(n)       "num" n " base" n " addr" n " kick" n " "
#define UML_RING(n)        "call" n "! num" n "! base" n "! addr" n "! "
#define UML_GO(n)          "kick" n "! enable" n "=1! "
#define UML_CONFIG         "config=10 config=1 config=2 config=6 config=20 config=18 config=24 "

struct front_end_row {
    const char *name;
    const char *nic; /* the daemon's options; NULL: as testbed.h has them */
    unsigned pairs;
    unsigned pairs_used; /* fewer: the guest left the others disabled */
    int control;         /* the control queue is the back-end's */
    int pipes;
    uint64_t pf;
    const char *hello; /* once a connection */
    const char *start; /* a driver begins */
    const char *stop;  /* its end */
    const char *again; /* the next driver on the same connection; NULL: as start */
    const char *pause; /* the machine stands still; NULL: nothing is sent */
    const char *resume;
};

enum {
    QEMU_7,
    QEMU_7_PAIRS,
    QEMU_10,
    DPDK,
    CLOUD_HYPERVISOR,
    CROSVM,
    LIBKRUN,
    OPENVMM,
    UML,
    UML_IN_BAND,
};

static const struct front_end_row rows[] = {
    [QEMU_7] =
        {
            .name = "QEMU 7.2, one pair (recorded)",
            .pairs = 1,
            .pf = PF_QEMU_7 | VU_PF_INBAND, /* it agrees to whatever bit it knows */
            .hello = "features? protocol? protocol= queues? slots? channel! owner features? "
                     "call0 err0 call1 err1",
            .start = "enable0=1 enable1=1 enable0=1 enable1=1 features= status? status=8 add! "
            /* */ QEMU_RING("0") QEMU_RING("1") "status? status=15",
            .stop = "status=0 base0? base1?",
            .again = "enable0=1 enable1=1 features= status? status=8 "
            /* */ QEMU_RING("0") QEMU_RING("1") "status? status=15",
            .pause = "status=0 base0? base1?",
            .resume = "enable0=1 enable1=1 features= status? status=8 "
            /* */ QEMU_KEPT("0") QEMU_KEPT("1") "status? status=15",
        },
    [QEMU_7_PAIRS] =
        {
            .name = "QEMU 7.2, two pairs, one in use (recorded)",
            .pairs = 2,
            .pairs_used = 1,
            .pf = PF_QEMU_7,
            .hello = "features? protocol? protocol= queues? slots? channel! owner features? "
                     "call0 err0 call1 err1 features? protocol? protocol= slots? features? "
                     "call2 err2 call3 err3",
            .start =
                "enable0=1 enable1=1 enable2=0 enable3=0 enable0=1 enable1=1 features= status? "
                "status=8 add! " QEMU_RING("0") QEMU_RING("1") "features= status? add! " QEMU_RING(
                    "2") QEMU_RING("3") "status? status=15 enable0=1 enable1=1 enable2=0 enable3=0",
            .stop = "base0? base1? status=0 base2? base3?",
            .again =
                "enable0=1 enable1=1 enable2=0 enable3=0 features= status? status=8 " QEMU_RING("0")
                    QEMU_RING("1") "features= status? " QEMU_RING("2")
                        QEMU_RING("3") "status? status=15 enable0=1 enable1=1 enable2=0 enable3=0",
            .pause = "base0? base1? status=0 base2? base3?",
            .resume =
                "enable0=1 enable1=1 enable2=0 enable3=0 features= status? status=8 " QEMU_KEPT("0")
                    QEMU_KEPT("1") "features= status? " QEMU_KEPT("2")
                        QEMU_KEPT("3") "status? status=15 enable0=1 enable1=1 enable2=0 enable3=0",
        },
    [QEMU_10] =
        {
            .name = "QEMU 10 and 11, slots",
            .pairs = 1,
            .pf = PF_QEMU_7,
            .hello = "features? protocol? protocol= queues? slots? channel! owner features? "
                     "call0 err0 call1 err1",
            .start = "enable0=1! enable1=1! features= status? status=8 status? add! mtu=1500! "
            /* */ QEMU_RING("0") QEMU_RING("1") "status? status=15",
            .stop = "base0? base1? status=0",
            .again = "enable0=1! enable1=1! features= status? status=8 status? "
            /* */ QEMU_RING("0") QEMU_RING("1") "status? status=15",
            .pause = "base0? base1? status=0",
            .resume = "enable0=1! enable1=1! features= status? status=8 status? "
            /* */ QEMU_KEPT("0") QEMU_KEPT("1") "status? status=15",
        },
    [DPDK] =
        {
            .name = "DPDK virtio-user 22.11, two pairs (recorded)",
            .pairs = 2,
            .pf = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_STATUS,
            .hello = "owner features? protocol? protocol=",
            .start = "call0 call2 call1 call3 features= status=11! status? status? table! "
            /* */ DPDK_RING("0") DPDK_RING("2") DPDK_RING("1") DPDK_RING("3")
            /* */ "enable0=1 enable1=1 status=15! enable2=1 enable3=1",
            .stop = "enable0=0 enable1=0 enable2=0 enable3=0 base0? base1? base2? base3?",
        },
    [CLOUD_HYPERVISOR] =
        {
            .name = "Cloud Hypervisor, two pairs",
            .pairs = 2,
            .pf = PF_CLOUD_HYPERVISOR,
            .hello = "owner features? protocol? protocol= queues?",
            .start = "features=! table! num0! num1! num2! num3! " CH_RING("0") CH_RING("1")
                CH_RING("2") CH_RING("3") "enable0=1! enable1=1! enable2=1! enable3=1! channel!",
            .stop = CH_STOP("0") CH_STOP("1") CH_STOP("2") CH_STOP("3"),
            .pause = "enable0=0! enable1=0! enable2=0! enable3=0!",
            .resume = "enable0=1! enable1=1! enable2=1! enable3=1!",
        },
    [CROSVM] =
        {
            .name = "crosvm",
            .pairs = 1,
            .pf = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_CONFIG,
            .hello = "features? owner protocol? protocol= queues? config=8",
            .start = "features=! table! " CROSVM_RING("0") CROSVM_RING("1"),
            .stop = CH_STOP("0") CH_STOP("1"),
        },
    [LIBKRUN] =
        {
            .name = "libkrun",
            .pairs = 1,
            .pf = VU_PF_MQ | VU_PF_CONFIG, /* nothing is answered */
            .hello = "features? protocol? protocol= queues?",
            .start = "owner table features= " KRUN_RING("0", "call0") KRUN_RING("1", "call1=0"),
        },
    [OPENVMM] =
        {
            .name = "OpenVMM",
            .pairs = 1,
            .pf = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_CONFIG | VU_PF_RESET_DEVICE,
            .hello = "features? features=all protocol? protocol= owner queues? config=256",
            .start = "table! features=! " VMM_RING("0") VMM_RING("1"),
            .stop = CH_STOP("0") CH_STOP("1") "reset!",
            .again = "features=! " VMM_RING("0") VMM_RING("1"), /* the table is sent once */
            .pause = CH_STOP("0") CH_STOP("1"),
            .resume = VMM_KEPT("0") VMM_KEPT("1"),
        },
    [UML] =
        {
            .name = "User Mode Linux 6.1 (recorded)",
            .nic = "queues=2,endpoint=loopback",
            .pairs = 2,
            .pairs_used = 1, /* until its driver has commanded more */
            .control = 1,
            .pipes = 1,
            .pf = PF_UML,
            .hello = "owner features? protocol? protocol=! channel!",
            .start = "features=! " UML_CONFIG
                     "table! " UML_RING("0")
                         UML_RING("1")
                             UML_RING("2")
                                 UML_RING("3")
                                     UML_RING("4")
                                         UML_GO("0") UML_GO("1") UML_GO("2") UML_GO("3") UML_GO("4") "config=8 config=16 config=17",
            .stop = "enable4=0! enable3=0! enable2=0! enable1=0! enable0=0! features?",
        },
    [UML_IN_BAND] =
        {
            .name = "User Mode Linux 6.1, notices in band (recorded)",
            .nic = "queues=2,in-band=on,endpoint=loopback",
            .pairs = 2,
            .pairs_used = 1,
            .control = 1,
            .pipes = 1,
            .pf = PF_UML | VU_PF_INBAND,
            .hello = "owner features? protocol? protocol=! channel!",
            .start =
                "features=! " UML_CONFIG "table! num0! base0! addr0! num1! base1! addr1! num2! "
                "base2! addr2! num3! base3! addr3! num4! base4! addr4! enable0=1! enable1=1! "
                "enable2=1! enable3=1! enable4=1! kicked0! kicked4! config=8 config=16 config=17",
            .stop = "enable4=0! enable3=0! enable2=0! enable1=0! enable0=0! features?",
        },
};

/* ---- playing a row ---- */

static struct kick {
    struct front_end *fe;
    uint32_t index;
} kicks[2 * TESTBED_PAIRS_MAX];

static void kick_by_message(void *context)
{
    const struct kick *kick = context;
    struct vu_message message = vu_message_state(VU_VRING_KICK, kick->index, 0);

    assert_int_equal(front_end_request(kick->fe, &message, 0), 0);
}

static void kicks_set(struct testbed_nic *nic)
{
    for (unsigned i = 0; i < 2 * nic->options.pairs; i++) {
        kicks[i] = (struct kick){&nic->fe, i};
        nic->ring[i]->kick =
            nic->fe.pf & VU_PF_INBAND && nic->fe.vring[i].kick_fd < 0 ? kick_by_message : NULL;
        nic->ring[i]->kick_context = &kicks[i];
    }
}

static void play(struct front_end_script *script, const char *words)
{
    if (words == NULL)
        return;
    front_end_play(script, words);
    kicks_set(script->nic);
}

static void move(const struct front_end_row *row, struct testbed_nic *nic)
{
    unsigned pairs = row->pairs_used != 0 ? row->pairs_used : row->pairs;

    for (unsigned pair = 0; pair < pairs; pair++) {
        for (unsigned i = 0; i < 5; i++)
            testbed_exchange(nic, pair, 60 + 290 * i);
    }
}

static void begin(const struct front_end_row *row, struct front_end_script *script,
                  const char *words)
{
    struct testbed_nic *nic = script->nic;

    play(script, words);
    for (unsigned pair = 0; pair < row->pairs; pair++)
        net_driver_post(&nic->net[pair], nic->net[pair].rx_slots);
    move(row, nic);
}

static void one_connection(const struct front_end_row *row, struct front_end_script *script)
{
    struct testbed_nic *nic = script->nic;

    front_end_connect(&nic->fe, nic->socket);
    play(script, row->hello);
    begin(row, script, row->start);
    if (row->pause != NULL) {
        play(script, row->pause);
        play(script, row->resume);
        move(row, nic);
    }
    if (row->stop == NULL)
        return;
    for (unsigned round = 0; round < 3; round++) {
        play(script, row->stop);
        testbed_restart_rings(nic, 0);
        begin(row, script, row->again != NULL ? row->again : row->start);
    }
}

static void plays(void **state, unsigned which)
{
    const struct front_end_row *row = &rows[which];
    struct testbed_options options = {
        .nic = row->nic,
        .pairs = row->pairs,
        .control = row->control,
        .pf = row->pf,
    };
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct front_end_script script = {
        .nic = &bed->nic[VICTIM], .name = row->name, .pipes = row->pipes};

    testbed_connect(&bed->nic[BYSTANDER]);
    for (unsigned connection = 0; connection < 2; connection++) {
        one_connection(row, &script);
        testbed_disconnect(script.nic);
    }
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/refused"), 0);
    testbed_finish(bed);
}

static void QEMU_01_QEMU_02_qemu_7(void **state)
{
    plays(state, QEMU_7);
}

static void QEMU_01_QEMU_04_qemu_7_with_two_pairs(void **state)
{
    plays(state, QEMU_7_PAIRS);
}

static void QEMU_02_QEMU_03_QEMU_04_qemu_10(void **state)
{
    plays(state, QEMU_10);
}

static void DPK_03_dpdk(void **state)
{
    plays(state, DPDK);
}

static void CH_01_cloud_hypervisor(void **state)
{
    plays(state, CLOUD_HYPERVISOR);
}

static void CRO_01_crosvm(void **state)
{
    plays(state, CROSVM);
}

static void front_end_libkrun(void **state)
{
    plays(state, LIBKRUN);
}

static void front_end_openvmm(void **state)
{
    plays(state, OPENVMM);
}

static void front_end_uml(void **state)
{
    plays(state, UML);
}

static void front_end_uml_in_band(void **state)
{
    plays(state, UML_IN_BAND);
}

/* Cloud Hypervisor says as BASE where the driver stands, behind what is queued: that is sent all
 * the same, and once (VU-RC-07). */
static void VU_RC_07_base_that_skips_what_is_queued(void **state)
{
    struct testbed_options options = {.pairs = 1, .pf = PF_CLOUD_HYPERVISOR};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct front_end_script script = {.nic = nic, .name = "a restart that skips"};
    uint8_t frame[100];

    testbed_connect(&bed->nic[BYSTANDER]);
    front_end_connect(&nic->fe, nic->socket);
    front_end_play(&script,
                   "owner features? protocol? protocol= features=! table! num0! num1! " CH_RING("0")
                       CH_RING("1") "enable0=1! enable1=1!");
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
    testbed_exchange(nic, 0, 100);
    front_end_play(&script, "base1?");
    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned i = 0; i < 3; i++)
        net_driver_queue(&nic->net[0], frame, sizeof(frame));
    testbed_tx(nic, 0)->ring.ops->publish(&testbed_tx(nic, 0)->ring);
    front_end_play(&script, "addr1! base1=avail! call1! kick1!");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(net_driver_receive(&nic->net[0], frame, sizeof(frame), WAIT_LONG_MS), 100);
    net_driver_drain(&nic->net[0]);
    testbed_expect_silence(nic, 0);
    testbed_exchange(nic, 0, 300);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(QEMU_01_QEMU_02_qemu_7),
        TESTBED_TEST(QEMU_01_QEMU_04_qemu_7_with_two_pairs),
        TESTBED_TEST(QEMU_02_QEMU_03_QEMU_04_qemu_10),
        TESTBED_TEST(DPK_03_dpdk),
        TESTBED_TEST(CH_01_cloud_hypervisor),
        TESTBED_TEST(CRO_01_crosvm),
        TESTBED_TEST(front_end_libkrun),
        TESTBED_TEST(front_end_openvmm),
        TESTBED_TEST(front_end_uml),
        TESTBED_TEST(front_end_uml_in_band),
        TESTBED_TEST(VU_RC_07_base_that_skips_what_is_queued),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
