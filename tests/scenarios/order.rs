//! Q4: first come, first served. Q5: candidates for an offer.

use crate::house::{House, answers, pass, play};
use crate::setting::queue;

/// Q4: callers of a queue are served in the order in which they came.
#[test]
fn q4_first_come_first_served() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        let anna = house.when_rung("1001", answers(2_000));
        let mut callers = Vec::new();
        for number in ["0791", "0792", "0793", "0794"] {
            callers.push(house.caller(number, "99900"));
            pass(100).await;
        }
        assert_eq!(house.line("99900"), ["0791", "0792", "0793", "0794"]);
        for caller in &callers {
            assert_eq!(caller.wait_talking().await, "1001");
            pass(1_000).await;
            anna.hang_up();
            assert_eq!(caller.wait_ended().await, "NORMAL_CLEARING");
        }
        let order: Vec<String> = house.end().await.answered().into_iter().map(|(_, caller)| caller).collect();
        assert_eq!(order, ["0791", "0792", "0793", "0794"]);
    });
}

/// Q4: an agent of several queues gets the caller who has waited longest in any of them.
#[test]
fn q4_the_longest_wait_of_all_queues_is_served_first() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"]), queue("99901", &["1001"])]);
        let anna = house.when_rung("1001", answers(500));
        let mut callers = Vec::new();
        for (number, queue) in [("0790", "99900"), ("0791", "99901"), ("0792", "99900"), ("0793", "99901")] {
            callers.push(house.caller(number, queue));
            pass(100).await;
        }
        for caller in &callers {
            caller.wait_talking().await;
            anna.hang_up();
            caller.wait_ended().await;
        }
        let order: Vec<String> = house.end().await.answered().into_iter().map(|(_, caller)| caller).collect();
        assert_eq!(order, ["0790", "0791", "0792", "0793"]);
    });
}

/// Q4: a caller who gives up in the middle of the line changes only the positions behind.
#[test]
fn q4_a_leaver_closes_the_line() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        house.settled().await;
        let anna = house.phone("1001");
        let mut callers = Vec::new();
        for number in ["0791", "0792", "0793"] {
            callers.push(house.caller(number, "99900"));
            pass(100).await;
        }
        callers[1].hang_up();
        pass(100).await;
        assert_eq!(house.line("99900"), ["0791", "0793"]);
        anna.answer();
        callers[0].wait_talking().await;
        callers[0].hang_up();
        assert_eq!(anna.wait_ringing().await.number, "0793");
        callers[2].hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["abandons"]), ["0792 abandons 99900", "0793 abandons 99900"]);
    });
}

/// Q5: an agent who talks, rings or is logged out gets no offer; a free agent gets one at once.
#[test]
fn q5_only_free_agents_are_offered() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002", "1003"]), queue("99901", &["1002"])]);
        house.log_out("1003", "99900");
        let anna = house.when_rung("1001", answers(200));
        let talking = house.caller("0791", "99900");
        assert_eq!(talking.wait_talking().await, "1001");
        let ringing = house.caller("0792", "99901");
        house.phone("1002").wait_ringing().await;
        let waiting = house.caller("0793", "99900");
        pass(5_000).await;
        assert_eq!(
            [house.activity("1001"), house.activity("1002"), house.activity("1003")],
            ["talking", "ringing", "idle"]
        );
        assert!(!house.phone("1003").is_ringing());
        house.log_in("1003", "99900");
        assert_eq!(house.phone("1003").wait_ringing().await.number, "0793");
        for caller in [talking, ringing, waiting] {
            caller.hang_up();
        }
        assert_eq!(anna.rings().len(), 1);
        house.end().await;
    });
}
