//! The call queue (ACD) beside FreeSWITCH.
//!
//! A call takes one straight path: socket bytes, frames and events ([`esl`]), one task per call ([`session`]), pure
//! decisions ([`acd`]), typed commands, FreeSWITCH.

pub mod acd;
pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controller;
pub mod demo;
pub mod dispatch;
pub mod esl;
pub mod floor;
pub mod journal;
pub mod observe;
pub mod session;
pub mod switch;
pub mod telephony;
