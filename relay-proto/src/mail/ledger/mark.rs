//! Marks: what a ledger can say of deliveries it does not know.

use super::Ledger;
use alloc::{format, string::String};

impl Ledger {
    /// Where the ledger stands for this account, in up to 64 printable characters that mean nothing to others: every delivery that begins
    /// from now on comes after it, whatever the storage does and however often the relay restarts.
    pub fn mark(&self, account: &str) -> String {
        let number = match self.recorder {
            // One that lags says less, and nothing that is wrong.
            Some(_) => self.next.min(self.safe),
            None => self.next,
        };
        format!("{:032x}:{number}", self.name(account))
    }

    /// Whether this ledger still knows every delivery of this account that has come to its end of data since this mark: it has
    /// forgotten none of them, by age or for want of room. Marks of other accounts and ledgers, and whatever else is no mark,
    /// are not covered.
    pub fn covers(&self, account: &str, mark: &str) -> bool {
        let Some((id, number)) = mark.split_once(':') else {
            return false;
        };
        let Ok(number) = number.parse() else {
            return false;
        };
        let forgotten = self.register.forgotten.max(self.forgotten.of(account));
        // A number yet to come was never given away.
        id == format!("{:032x}", self.name(account))
            && (forgotten.saturating_add(1)..=self.next).contains(&number)
    }

    /// The ledger's name for an account: what was sent under another one nobody finds under this, so its marks say nothing here.
    fn name(&self, account: &str) -> u128 {
        // FNV-1a: names only have to differ.
        let hash = account.bytes().fold(
            0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
            |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b),
        );
        self.register.id ^ hash
    }
}
