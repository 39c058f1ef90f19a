//! A simulated FreeSWITCH speaking the real Event Socket wire.
