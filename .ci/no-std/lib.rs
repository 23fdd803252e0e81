//! With std anywhere below, its panic handler and this one collide, and the build fails.
#![no_std]

extern crate relay_proto;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
