/* engine/stow.h: what the engine itself must find again in an image: the outbox, and how many
 * effects there were. An image has no sections, so it stands in the arena, in one block, while the
 * image's boundary passes; the arena's root is that block for so long, and it knows the state.
 *
 * Unlike the service's own memory it is not part of the state: it is given back at once, by the
 * process that goes on and by the one that loads the image. Bytes: docs/format/snapshot.md. */
#pragma once

#include "engine/machine.h"

/* At an entry boundary, before the image's last pages are taken. BATON_E_FULL, -ENOMEM: the arena
 * has no room for it. */
BATON_MUST_USE int baton_machine_stow(baton_machine *machine, baton_error *error);
/* After it: the arena's root is the state again. */
void baton_machine_unstow(baton_machine *machine);
/* In an arena that was just adopted: sets state and effects_count, fills the empty outbox, unstows.
 * BATON_E_DAMAGED, BATON_E_NEWER_FORMAT, -ENOMEM. */
BATON_MUST_USE int baton_machine_take_stowed(baton_machine *machine, baton_error *error);
