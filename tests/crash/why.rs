//! Q24: "why is this caller offered to no agent?" has an answer for every participant, at any moment.

use simswitch::{Behaviour, Registration};

use crate::site::{Site, answers, pass, play, setting};

#[test]
fn q24_every_participant_has_a_reason() {
    play(async {
        let all = [
            r#"number: "99900", participants: ["1001", "1002", "1003", "1004", "1005", "1006", "1007"], wrap_up_seconds: 30"#,
            r#"number: "99901", participants: ["1002", "1003", "1004"], wrap_up_seconds: 30, ring_seconds: 60"#,
        ];
        let site = Site::linked(setting(&all).without("1001", "99900")).await;
        for agent in ["1005", "1006", "1007"] {
            site.when_rung(agent, Behaviour::Busy);
        }
        // 1002 talks, 1003 is in wrap-up, 1004 rings, all for the other queue.
        site.when_rung("1002", answers(100));
        let talks = site.caller("0781", "99901");
        talks.wait_talking().await;
        site.when_rung("1003", answers(100));
        let short = site.caller("0782", "99901");
        short.wait_talking().await;
        let ringing = site.caller("0783", "99901");
        site.phone("1004").wait_ringing().await;
        short.hang_up();
        site.phone("1005").set_registration(Registration::Unregistered);
        site.phone("1005").set_registration(Registration::Registered);
        pass(100).await;
        site.phone("1005").set_registration(Registration::Unregistered);
        let private = site.dial("1006", "2000");
        pass(1_000).await;
        let hans = site.caller("0791", "99900");
        let eva = site.caller("0792", "99900");
        pass(3_500).await;
        let status = freeswitch_queue::admin::json(&site.status()).unwrap();
        let queue = &status["queues"][0];
        assert_eq!(queue["waiting"][0]["number"], "0791");
        let reasons: Vec<String> = queue["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| format!("{} {}", c["agent"].as_str().unwrap(), c["reason"].as_str().unwrap_or("-")))
            .collect();
        let expected = [
            "1001 logged out",
            "1002 in conversation with a caller of 99901 for 4 s",
            "1003 wrap-up for another 26 s",
            "1004 ringing for a caller of 99901 for 4 s",
            "1005 phone not reachable for 4 s: not registered",
            "1006 on another call for 4 s",
            "1007 tried 3 s ago",
        ];
        assert_eq!(reasons, expected);
        // For the next caller as well: a free agent is offered to the caller ahead first.
        let of_eva: Vec<&str> = queue["waiting"][1]["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["reason"].as_str().filter(|_| c["agent"] == "1007" || c["agent"] == "1001"))
            .collect();
        assert_eq!(of_eva, ["logged out", "held for a caller further ahead in 99900"]);
        // Calls that an admin can act on are named by their channels.
        let talking = &status["agents"].as_array().unwrap().iter().find(|a| a["id"] == "1002").unwrap().clone();
        assert_eq!(talking["call"], talks.uuid());
        let leg = talking["leg"].as_str().unwrap();
        assert!(
            site.switch.legs().iter().any(|l| l.uuid == leg && l.talks_to.as_deref() == Some(talks.uuid())),
            "{leg}"
        );
        let table = freeswitch_queue::admin::table(&site.status());
        for reason in expected {
            let (agent, words) = reason.split_once(' ').unwrap();
            assert!(table.lines().any(|l| l.contains(agent) && l.ends_with(words)), "{reason} is not in\n{table}");
        }
        let of_eva = table.lines().find(|line| line.contains("0792")).unwrap();
        assert!(of_eva.ends_with("waits 3 s, 1007 held for a caller further ahead in 99900"), "{of_eva}");
        for caller in [talks, ringing, private, hans, eva] {
            caller.hang_up();
        }
        site.end().await;
    });
}
