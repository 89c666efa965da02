/* SPDX-License-Identifier: MIT */
/* Saved state of a card whose registers are in this process. */
#include "api/vionic_parts.h"

#include <errno.h>

#include "base/records.h"
#include "nic/saved_state.h"

static int state_check(const struct vionic_nic *nic, struct error *err)
{
    if (nic->vhost_user == NULL)
        return 0;
    return error_set(err, EOPNOTSUPP, "%s: a front-end keeps the state of its rings itself",
                     coordinator_name(nic->coordinator));
}

int vionic_nic_save(struct vionic_nic *nic, void **ret_state, size_t *ret_len,
                    struct vionic_error *err)
{
    struct records_writer writer;
    uint8_t *block;
    int result = state_check(nic, error_of(err));

    if (result < 0)
        return result;
    records_begin(&writer);
    result = nic->pci != NULL ? pci_save(nic->pci, &writer) : mmio_save(nic->mmio, &writer);
    if (result < 0)
        writer.failed = 1;
    result = records_end(&writer, &block, ret_len);
    if (result < 0)
        return error_set(error_of(err), -result, "out of memory");
    *ret_state = block;
    return 0;
}

int vionic_nic_restore(struct vionic_nic *nic, const void *state, size_t len,
                       struct vionic_error *err)
{
    struct records records;
    int result = state_check(nic, error_of(err));

    if (result == 0)
        result = records_parse(&records, state, len, SAVED_TAGS_KNOWN, error_of(err));
    if (result < 0)
        return result;
    return nic->pci != NULL ? pci_restore(nic->pci, &records, error_of(err))
                            : mmio_restore(nic->mmio, &records, error_of(err));
}
