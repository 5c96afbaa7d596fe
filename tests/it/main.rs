//! The whole thing: the real binary, real brokers, real tables.

mod breaker;
mod commands;
mod cut;
mod demo;
mod end_to_end;
mod fence;
mod hostile;
mod kill;
mod layering;
mod memory;
mod readers;
mod reset;
mod slow_query;
mod terminal;
mod tiers;
mod user_domain;
mod verify;
