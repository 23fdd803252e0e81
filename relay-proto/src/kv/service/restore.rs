//! A service that goes on with what was stored.

use super::{
    Service,
    record::{self, Item},
    token::Signer,
    turn::Turn,
};
use crate::{
    Time,
    storage::{Record, RestoreError},
};
use alloc::{string::String, vec::Vec};

impl Service {
    pub(super) fn take_records(
        &mut self,
        now: Time,
        records: Vec<Record>,
    ) -> Result<(), RestoreError> {
        let (mut changes, mut results) = (Vec::new(), Vec::new());
        let mut is_registered = false;
        for stored in records {
            match stored.table.as_str() {
                record::REGISTER => {
                    let (id, secret) = record::decode_register(&stored)?;
                    (self.id, self.signer) = (id, Signer::new(secret));
                    is_registered = true;
                }
                record::VALUES => {
                    let (space, key, value) = record::decode_value(&stored)?;
                    self.store.restore_value(&space, &key, value);
                }
                record::CHANGES => changes.push(record::decode_change(&stored)?),
                record::CLIENTS => {
                    let (client, settled) = record::decode_client(&stored)?;
                    self.clients
                        .restore(now, &self.config, client, settled, stored.age);
                }
                record::RESULTS => results.push(record::decode_result(&stored)?),
                _ => {
                    let table = stored.table;
                    return Err(RestoreError::Foreign { table });
                }
            }
        }
        changes.sort_by(|(a, one), (b, other)| (a, one.sequence).cmp(&(b, other.sequence)));
        for (space, change) in changes {
            let space: String = space;
            self.store.restore_change(&space, change);
        }
        for (client, call, kept) in results {
            if self.clients.knows(client) {
                self.clients.keep(client, call, kept);
            } else {
                self.mark(Item::Result(client, call));
            }
        }
        if !is_registered {
            self.mark(Item::Register);
            self.store_changes();
            // Nothing is stored before it, so that no answer comes from a store without a name.
            self.turn = Some(Turn::default());
        }
        Ok(())
    }
}
