//! A lamp key of a phone of the house.

use std::time::Duration;

use crate::lab::Lab;
use crate::machine::udp_port;
use crate::sipp::{Message, Sipp};
use crate::switch::{DOMAIN, SECRET};

/// A subscription. The subscribing phone need not be registered.
pub struct Lamp {
    sipp: Sipp,
}

impl Lamp {
    pub fn new(lab: &Lab, user: &str, number: &str) -> Lamp {
        let values = [("NUMBER", number), ("USER", user), ("DOMAIN", DOMAIN)];
        let scenario = lab.scenario(&format!("lamp-{user}.xml"), include_str!("subscribe.xml"), &values);
        let more = ["-m", "1", "-au", user, "-ap", SECRET];
        Lamp { sipp: Sipp::start(lab.programs(), &scenario, udp_port(), lab.switch.sip, &more, |_, _| {}) }
    }

    /// Waits until the last NOTIFY has this state.
    #[track_caller]
    pub fn shows(&self, lit: bool, within: Duration) {
        let last = self.sipp.wait_for_all(|notices| notices.iter().filter_map(state).next_back() == Some(lit), within);
        assert!(last, "the lamp is not {}; its NOTIFYs:\n{}", if lit { "lit" } else { "dark" }, self.story());
    }

    /// Whether the lamp was ever lit.
    pub fn ever_lit(&self) -> bool {
        self.sipp.messages().iter().any(|m| state(m) == Some(true))
    }

    fn story(&self) -> String {
        self.sipp.messages().iter().map(|m| format!("{}\n", m.text)).collect()
    }
}

/// The state in a NOTIFY: busy or not.
fn state(message: &Message) -> Option<bool> {
    if message.sent || message.what() != "NOTIFY" {
        return None;
    }
    let state = message.text.split("<state>").nth(1).and_then(|rest| rest.split("</state>").next());
    Some(matches!(state, Some("confirmed" | "early")))
}
