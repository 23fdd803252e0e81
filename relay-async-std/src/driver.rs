//! The driver, with async-std filled in.

use crate::AsyncStd;
use relay_async::{Application, Config};
use relay_proto::{Machine, storage::Storage};

/// The handle to a running machine and its application. Cheap to clone.
pub type Driver<M, A> = relay_async::Driver<AsyncStd, M, A>;

/// Runs `machine` and `application` on a task of their own and returns the handle to them.
pub fn spawn<M, A>(machine: M, application: A, config: Config) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    relay_async::spawn(machine, application, config)
}

/// Like [`spawn`], for an application that needs the handle: `make` gets it before anything runs.
///
/// As long as the application keeps the handle, [`Application::handle_abandoned`] is not called.
pub fn spawn_with<M, A>(
    machine: M,
    config: Config,
    make: impl FnOnce(&Driver<M, A>) -> A,
) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    relay_async::spawn_with(machine, config, make)
}

/// Like [`spawn_with`], for a machine that [stores](relay_proto::Action::Store): `storage` is the one whose records the machine
/// was made with. It is dropped before [`Driver::finished`](relay_async::Driver::finished) returns.
pub fn spawn_storing<M, A>(
    machine: M,
    storage: impl Storage,
    config: Config,
    make: impl FnOnce(&Driver<M, A>) -> A,
) -> Driver<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    relay_async::spawn_storing(machine, storage, config, make)
}
