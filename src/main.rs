//! The daemon `freeswitch-queue`.

fn main() {}
