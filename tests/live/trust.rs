//! Identities the daemon trusts, and the privacy of callers (Q5, Q14, Q17).

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::phone::UPDATED;

crate::cases!("trust":
    a_claimed_number_makes_no_agent_busy,
    a_colleague_cannot_dial_a_code_for_an_agent,
    a_withheld_number_is_shown_nowhere,
    the_queues_name_stays_on_the_agents_display,
    a_number_outside_the_dialplan_is_reported,
);

fn agent(lab: &Lab, id: &str) -> Value {
    let status = lab.daemon().status();
    let agents = status["agents"].as_array().expect("agents");
    agents.iter().find(|agent| agent["id"] == id).cloned().unwrap_or_default()
}

/// Q5: 1010 calls with the From of 1001 and stays on the line; both the daemon that sees the call begin and one that
/// starts meanwhile know whose call it is.
fn a_claimed_number_makes_no_agent_busy(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let claims = lab.call(&From::phone_as("1010", "1001"), "9000");
    for again in [false, true] {
        if again {
            lab.daemon_mut().kill();
            lab.serve_again();
        }
        // Longer than from one look at FreeSWITCH's table to the next.
        sleep(Duration::from_secs(5));
        assert_eq!(agent(lab, "1001")["activity"], "idle");
        assert_eq!(agent(lab, "1010")["activity"], "on another call", "the call is the authenticated user's");
        let hans = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let ring = lab.phone("1001").rings(SOON);
        hans.hang_up();
        ring.cancelled(SOON);
        hans.over(SOON);
    }
    claims.hang_up();
    claims.over(SOON);
}

/// Q14: 1002 talks to 1001, and transfers 1001 to the code that logs out.
fn a_colleague_cannot_dial_a_code_for_an_agent(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let anna = lab.dial(&From::phone("1001"), "1002");
    let ring = lab.phone("1002").rings(SOON);
    ring.answer();
    anna.answered();
    sleep(Duration::from_millis(500));
    ring.transfer("*4299900");
    lab.daemon().says("the agent must dial the code", SOON);
    anna.byed(SOON);
    anna.over(SOON);
    assert_eq!(agent(lab, "1001")["logins"], serde_json::json!(["99900"]));
    let own = lab.call(&From::phone("1001"), "*4299900");
    own.byed(SOON);
    own.over(SOON);
    assert_eq!(agent(lab, "1001")["logins"], serde_json::json!([]));
}

/// Q17: the network sends the number and asks for privacy. On a phone of the house, on one that gets every change of
/// the other party, and towards a gateway.
fn a_withheld_number_is_shown_nowhere(lab: &Lab) {
    let mobile = lab.phone("1003");
    let dial = format!("sofia/trunk/0791110000@127.0.0.1:{}", mobile.port());
    for (n, (agent, rung)) in [("1001", "1001"), (UPDATED, UPDATED), ("1002", "1003")].into_iter().enumerate() {
        if n > 0 {
            lab.daemon_mut().terminate(SOON);
        }
        let queue = format!("  - {{ number: \"99900\", name: Sales, participants: [\"{agent}\"] }}\n");
        lab.serve_with(&[("1002", &dial)], &queue);
        lab.log_in("99900", &[agent]);
        let hans = lab.call(&From::outside("0791234567", "Hans").withheld(), "99900");
        let ring = lab.phone(rung).rings(SOON);
        let invite = &ring.invite;
        assert!(invite.header("From").contains("Sales - Anonymous"), "{}", invite.text);
        assert!(invite.header("From").contains("sip:anonymous@"), "{}", invite.text);
        let answered = ring.answer();
        hans.sound.hears(lab.phone(rung).tone, answered, SOON);
        // Any update of the other party that FreeSWITCH sends once the two are connected.
        sleep(Duration::from_secs(2));
        let status = lab.daemon().status().to_string();
        hans.hang_up();
        hans.over(SOON);
        ring.over(SOON);
        for text in lab.phone(rung).texts_since(invite.at) {
            println!("  {rung}: {}", text.lines().next().unwrap_or_default());
            assert!(!text.contains("0791234567") && !text.contains("Hans"), "{text}");
        }
        assert!(!status.contains("0791234567"), "{status}");
        assert!(!lab.daemon().log().contains("0791234567"));
    }
}

/// Q17, Q103: the phone shows the queue's name as long as it talks to the queue's caller, and another party afterwards.
fn the_queues_name_stays_on_the_agents_display(lab: &Lab) {
    lab.serve(&format!("  - {{ number: \"99900\", name: Sales, participants: [\"{UPDATED}\"] }}\n"));
    lab.log_in("99900", &[UPDATED]);
    let hans = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone(UPDATED).rings(SOON);
    assert!(ring.invite.header("From").contains("Sales - Hans"), "{}", ring.invite.text);
    let answered = ring.answer();
    hans.sound.hears(lab.phone(UPDATED).tone, answered, SOON);
    sleep(Duration::from_secs(3));
    let shown = |since: Instant| -> Vec<String> {
        let texts = lab.phone(UPDATED).texts_since(since);
        let asserted = |text: String| text.lines().find(|l| l.starts_with("P-Asserted-Identity")).map(str::to_owned);
        texts.into_iter().filter_map(asserted).collect()
    };
    assert_eq!(shown(answered), Vec::<String>::new(), "nothing replaces the queue's name");
    let passed_on = Instant::now();
    let moved = lab.switch.api(&format!("uuid_transfer {} 1005 XML default", crate::moved::leg(lab)));
    assert!(moved.starts_with("+OK"), "{moved}");
    hans.over(SOON);
    let other = lab.phone("1005").rings(SOON);
    lab.phone(UPDATED).sound.hears(lab.phone("1005").tone, other.answer(), SOON);
    let until = Instant::now() + SOON;
    while !shown(passed_on).iter().any(|text| text.contains("1005")) {
        assert!(Instant::now() < until, "the phone never shows the other party: {:?}", shown(passed_on));
        sleep(Duration::from_millis(20));
    }
    other.hang_up();
    ring.over(SOON);
}

/// Q1: the dialplan of the house routes 99 and three digits to queues.
fn a_number_outside_the_dialplan_is_reported(lab: &Lab) {
    let began = Instant::now();
    lab.serve("  - { number: \"99900\", name: Sales, participants: [] }\n  - { number: \"77700\", name: Lost, participants: [] }\n");
    lab.daemon().says("the number of queue 77700", SOON);
    let troubles = lab.daemon().status()["links"][0]["troubles"].to_string();
    assert!(troubles.contains("77700") && !troubles.contains("99900"), "{troubles} after {:?}", began.elapsed());
}
