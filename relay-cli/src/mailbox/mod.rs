//! The embedded mailbox: a mail server for some addresses or domains, with a Maildir for each address.

mod delivery;
mod directory;
mod name;
mod server;

use delivery::Delivery;
pub(crate) use directory::Directory;
use directory::Maildir;
pub(crate) use server::MailboxServer;
