//! The simulated switch as a program.
fn main() {}
