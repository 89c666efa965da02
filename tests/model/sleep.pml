/* SPDX-License-Identifier: MIT */
/*
 * Publish, arm, look again, sleep: what driver and device of one ring do so that neither sleeps
 * while the other waits for it. Words in memory have one writer each and go through that side's
 * store buffer, which drains when it likes (as on x86; a load may overtake an earlier store). A
 * fence waits until the buffer is empty.
 *
 * The model of ring/split.c (split_publish, split_arm), ring/packed.c (packed_publish, packed_arm)
 * and run/worker.c (pair_run, look), and of a driver that does the same on its side (virtio 1.4,
 * 2.7.7, 2.7.10, 2.8.10). A lost kick or interrupt is a state in which the driver sleeps and
 * nothing can happen any more: spin calls that an invalid end state.
 *
 * MODE is how notifications are suppressed. run.py leaves out, one by one, each fence and each
 * second look (-DWITHOUT_...): every one of them has to be missed.
 */
#define BY_FLAG 0   /* split, without EVENT_IDX: a flag */
#define BY_INDEX 1  /* split, EVENT_IDX: an index */
#define BY_SLOT 2   /* packed, EVENT_IDX: a position, and flags that make it count */

#ifndef MODE
#error "run.py gives -DMODE"
#endif

#define INDEX_WRAPS 8
#define INDEX_FIRST 6 /* wraps on the way */
#define RING_SIZE 2
#define TOTAL 4 /* buffers that the driver sends */

#define ENABLE 0
#define DISABLE 1
#define AT_EVENT 2

/* Words in memory. */
#define AVAIL_IDX 0
#define KICK_EVENT 1 /* written by the device */
#define KICK_FLAGS 2
#define USED_IDX 3
#define INTERRUPT_EVENT 4 /* written by the driver */
#define INTERRUPT_FLAGS 5
#define WORDS 6

byte word[WORDS];
chan driver_stores = [3] of { byte, byte };
chan device_stores = [3] of { byte, byte };
bool kick, interrupt; /* eventfds: they stay raised until they are taken */

#define DISTANCE(from, to) ((to + INDEX_WRAPS - from) % INDEX_WRAPS)
#define LATER(index, count) ((index + count) % INDEX_WRAPS)

#define STORE(buffer, which, value) buffer!which,value
#define FENCE(buffer) empty(buffer)

proctype drain(chan stores)
{
    byte which, value;

end:
    do
    :: atomic { stores?which,value -> word[which] = value }
    od
}

/* Does whoever waits behind these words want to hear that the index went from `old` to `new`? */
inline look_for_wish(event_word, flags_word, old, new)
{
    flags = AT_EVENT;
    if
    :: MODE != BY_INDEX -> flags = word[flags_word]
    :: else
    fi;
    event = LATER(new, INDEX_WRAPS - 1);
    if
    :: MODE != BY_FLAG && flags == AT_EVENT -> event = word[event_word]
    :: else
    fi;
    wanted = flags != DISABLE && DISTANCE(event, new) != 0 &&
             (DISTANCE(event, new) - 1 < DISTANCE(old, new));
}

inline wish(buffer, event_word, flags_word, at)
{
    if
    :: MODE != BY_FLAG -> STORE(buffer, event_word, at)
    :: else
    fi;
    if
    :: MODE == BY_FLAG -> STORE(buffer, flags_word, ENABLE)
    :: MODE == BY_SLOT -> STORE(buffer, flags_word, AT_EVENT)
    :: else
    fi
}

inline wish_nothing(buffer, flags_word)
{
    if
    :: MODE != BY_INDEX -> STORE(buffer, flags_word, DISABLE)
    :: else
    fi
}

proctype device()
{
    byte next = INDEX_FIRST;
    byte used = INDEX_FIRST;
    byte seen, now, flags, event;
    bool wanted;

turn:
    wish_nothing(device_stores, KICK_FLAGS);
take:
    seen = word[AVAIL_IDX];
    if
    :: seen != next ->
        now = used;
        used = LATER(used, DISTANCE(next, seen));
        next = seen;
        STORE(device_stores, USED_IDX, used);
#ifndef WITHOUT_DEVICE_PUBLISH_FENCE
        FENCE(device_stores);
#endif
        look_for_wish(INTERRUPT_EVENT, INTERRUPT_FLAGS, now, used);
        interrupt = interrupt || wanted;
        goto take
    :: else
    fi;
    wish(device_stores, KICK_EVENT, KICK_FLAGS, seen);
#ifndef WITHOUT_DEVICE_ARM_FENCE
    FENCE(device_stores);
#endif
#ifndef WITHOUT_DEVICE_SECOND_LOOK
    now = word[AVAIL_IDX];
    if
    :: now != seen -> goto turn
    :: else
    fi;
#endif
end_asleep: /* fine, once the driver has got everything */
    atomic { kick -> kick = false };
    goto turn
}

proctype driver()
{
    byte next = INDEX_FIRST;
    byte reclaimed = INDEX_FIRST;
    byte sent = 0;
    byte seen, now, count, flags, event;
    bool wanted;

turn:
    wish_nothing(driver_stores, INTERRUPT_FLAGS);
take:
    seen = word[USED_IDX];
    reclaimed = seen;
    if
    :: sent == TOTAL && reclaimed == next -> goto done
    :: sent < TOTAL && DISTANCE(reclaimed, next) < RING_SIZE ->
        count = 1;
        if /* one, or as many as fit */
        :: true
        :: sent + 1 < TOTAL && DISTANCE(reclaimed, next) == 0 -> count = 2
        fi;
        now = next;
        next = LATER(next, count);
        sent = sent + count;
        STORE(driver_stores, AVAIL_IDX, next);
#ifndef WITHOUT_DRIVER_PUBLISH_FENCE
        FENCE(driver_stores);
#endif
        look_for_wish(KICK_EVENT, KICK_FLAGS, now, next);
        kick = kick || wanted;
        goto take
    :: else
    fi;
    wish(driver_stores, INTERRUPT_EVENT, INTERRUPT_FLAGS, seen);
#ifndef WITHOUT_DRIVER_ARM_FENCE
    FENCE(driver_stores);
#endif
#ifndef WITHOUT_DRIVER_SECOND_LOOK
    now = word[USED_IDX];
    if
    :: now != seen -> goto turn
    :: else
    fi;
#endif
    atomic { interrupt -> interrupt = false };
    goto turn;
done:
    skip
}

init
{
    atomic {
        word[AVAIL_IDX] = INDEX_FIRST;
        word[USED_IDX] = INDEX_FIRST;
        word[KICK_EVENT] = INDEX_FIRST;
        word[INTERRUPT_EVENT] = INDEX_FIRST;
        run drain(driver_stores);
        run drain(device_stores);
        run device();
        run driver()
    }
}
