/* SPDX-License-Identifier: MIT */
/* What of a running card can be set by name. */
#include "api/vionic_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/endpoint_choice.h"
#include "api/sized.h"
#include "base/checked.h"
#include "base/mac_text.h"

struct setting {
    const char *key, *values, *summary;
    int (*apply)(struct vionic_nic *nic, const char *value, struct error *err);
};

static int refuse_value(const char *value, const char *wanted, struct error *err)
{
    return error_set(err, EINVAL, "\"%s\" won't do; write %s", value, wanted);
}

/* A whole number, digits only. */
static int number_parse(const char *text, unsigned long max, unsigned long *ret_number)
{
    char *end;

    errno = 0;
    *ret_number = strtoul(text, &end, 10);
    return text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || *ret_number > max
               ? -EINVAL
               : 0;
}

static int apply_link(struct vionic_nic *nic, const char *value, struct error *err)
{
    int up = strcmp(value, "up") == 0;

    if (!up && strcmp(value, "down") != 0)
        return refuse_value(value, "up or down", err);
    coordinator_set_link(nic->coordinator, up ? NIC_LINK_UP : NIC_LINK_DOWN);
    return 0;
}

static int apply_mtu(struct vionic_nic *nic, const char *value, struct error *err)
{
    unsigned long number;

    if (number_parse(value, UINT16_MAX, &number) < 0 || number < NIC_MTU_MIN)
        return refuse_value(value, "68 to 65535", err);
    return coordinator_set_mtu(nic->coordinator, (uint16_t)number, err);
}

/* virtio 1.4, 5.1.4: up to 0x7fffffff Mbit/s */
static int apply_speed(struct vionic_nic *nic, const char *value, struct error *err)
{
    unsigned long number = 0;

    if (strcmp(value, "unknown") != 0 &&
        (number_parse(value, INT32_MAX, &number) < 0 || number == 0))
        return refuse_value(value, "1 to 2147483647 Mbit/s, or unknown", err);
    coordinator_set_speed(nic->coordinator, (uint32_t)number);
    return 0;
}

static int apply_duplex(struct vionic_nic *nic, const char *value, struct error *err)
{
    int full = strcmp(value, "full") == 0;

    if (!full && strcmp(value, "half") != 0)
        return refuse_value(value, "half or full", err);
    coordinator_set_duplex(nic->coordinator, full ? NIC_DUPLEX_FULL : NIC_DUPLEX_HALF);
    return 0;
}

static int apply_mac(struct vionic_nic *nic, const char *value, struct error *err)
{
    uint8_t mac[6];

    if (mac_text_parse(value, mac) < 0)
        return refuse_value(value, "six hexadecimal bytes such as 52:54:00:12:34:56", err);
    return coordinator_set_mac(nic->coordinator, mac, err);
}

static int apply_announce(struct vionic_nic *nic, const char *value, struct error *err)
{
    if (strcmp(value, "now") != 0)
        return refuse_value(value, "now", err);
    return coordinator_announce(nic->coordinator, err);
}

static int apply_endpoint(struct vionic_nic *nic, const char *value, struct error *err)
{
    struct endpoint_choice choice;
    int result = endpoint_choice_parse(&choice, value, err);

    return result < 0 ? result : nic_swap_endpoint(nic, &choice, err);
}

static const struct setting settings[] = {
    {"link", "up|down", "take the link down or up, as a cable that is pulled", apply_link},
    {"speed", "MBIT|unknown", "link speed that the guest sees", apply_speed},
    {"duplex", "half|full", "duplex mode that the guest sees", apply_duplex},
    {"mtu", "68-65535", "MTU for the driver that begins next", apply_mtu},
    {"mac", "MAC", "address, where the guest has not set its own", apply_mac},
    {"announce", "now", "ask the guest to announce itself to the network", apply_announce},
    {"endpoint", "KIND[:OPTIONS]", "put another endpoint behind the card", apply_endpoint},
};

int vionic_setting(unsigned index, struct vionic_setting *ret_setting)
{
    struct vionic_setting setting;

    if (index >= ARRAY_COUNT(settings))
        return -ENOENT;
    setting = (struct vionic_setting){
        .key = settings[index].key,
        .values = settings[index].values,
        .summary = settings[index].summary,
    };
    return sized_write(ret_setting, &setting, sizeof(setting));
}

int vionic_nic_set(struct vionic_nic *nic, const char *key, const char *value,
                   struct vionic_error *ret_err)
{
    struct error *err = error_of(ret_err);

    for (size_t i = 0; i < ARRAY_COUNT(settings); i++) {
        if (strcmp(settings[i].key, key) == 0)
            return settings[i].apply(nic, value, err);
    }
    return error_set(err, EINVAL, "a card has no setting \"%s\"; vionic_setting() lists them", key);
}
