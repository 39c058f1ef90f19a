//! Q25 to Q27: head starts in whole calls.

use simswitch::{CallSpec, Caller};

use crate::hearing::prompts;
use crate::house::{House, answers, pass, play};
use crate::setting::{Queue, queue};

fn service() -> Queue {
    queue("99900", &["1001"])
}

/// A call whose dialplan has set the caller's own head start.
fn ahead(house: &House, number: &str, queue: &str, seconds: &str) -> Caller {
    house.switch.call(&CallSpec::trunk(number, queue).variable("fsq_head_start", seconds))
}

/// Serves the waiting callers one after another, and returns their numbers in that order.
async fn serve(house: House, agent: &str, callers: &[Caller]) -> Vec<String> {
    let phone = house.when_rung(agent, answers(300));
    for _ in callers {
        phone.wait_talking().await;
        pass(500).await;
        phone.hang_up();
        phone.wait_idle().await;
    }
    house.end().await.answered().into_iter().map(|(_, caller)| caller).collect()
}

/// Q25: a caller with a head start stands where an earlier entry would; more than an hour counts as an hour, and
/// anything that is no number of seconds as nothing.
#[test]
fn q25_a_callers_own_head_start_counts_as_earlier_entry() {
    play(async {
        let house = House::open(&[service()]);
        let busy = house.caller("0700", "99900");
        house.take("1001").await;
        let mut callers = vec![house.caller("0791", "99900")];
        pass(10_000).await;
        callers.push(house.caller("0792", "99900"));
        pass(100).await;
        for (number, seconds) in [("0793", "9.5"), ("0794", "15"), ("0795", "-60"), ("0796", "soon"), ("0797", "9999")]
        {
            callers.push(ahead(&house, number, "99900", seconds));
            pass(100).await;
        }
        let line = ["0797", "0794", "0791", "0793", "0792", "0795", "0796"];
        assert_eq!(house.line("99900"), line);
        let view = house.view();
        let shown: Vec<u64> = view.queues[0].waiting.iter().map(|w| w.head_start_ms).collect();
        assert_eq!(shown, [3_600_000, 15_000, 0, 9_500, 0, 0, 0]);
        busy.hang_up();
        let served = serve(house, "1001", &callers).await;
        assert_eq!(served[1..], line);
    });
}

/// Q25: an agent of several queues gets the caller who is furthest ahead in any of them, with each queue's share.
#[test]
fn q25_a_queue_is_ahead_of_another_by_its_share() {
    play(async {
        let weighty = queue("99901", &["1001"]).with("head_start_seconds: 60");
        let house = House::open(&[service(), weighty]);
        let busy = house.caller("0700", "99900");
        house.take("1001").await;
        let mut callers = vec![house.caller("0791", "99900")];
        pass(30_000).await;
        callers.push(house.caller("0792", "99901"));
        pass(40_000).await;
        callers.push(house.caller("0793", "99901"));
        pass(100).await;
        callers.push(ahead(&house, "0794", "99900", "45"));
        pass(100).await;
        busy.hang_up();
        let served = serve(house, "1001", &callers).await;
        assert_eq!(served[1..], ["0792", "0791", "0793", "0794"]);
    });
}

/// Q27: a share that the file changes moves the waiting callers at once, and the phone that rings for one of them rings
/// on. Q11: nobody hears a position worse than the one before.
#[test]
fn q27_a_reload_moves_the_callers_who_wait() {
    play(async {
        let said = "position_announcement: { every_seconds: 20 }";
        let house = House::open(&[queue("99901", &["1001"]).with(said), queue("99900", &["1001"]).with(said)]);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        pass(5_000).await;
        let eva = house.caller("0792", "99901");
        pass(5_000).await;
        let before = house.phone("1001").rings().len();
        let weighty = queue("99901", &["1001"]).with(said).with("head_start_seconds: 3600");
        house.reconfigure(&[weighty, queue("99900", &["1001"]).with(said)]);
        pass(1_000).await;
        assert!(house.phone("1001").is_ringing(), "no ringing offer is called off");
        assert_eq!(house.phone("1001").rings().len(), before);
        let book = house.book().await;
        assert_eq!(book.story_of(&["ahead"]), ["0792 has 3600 s ahead"]);
        hans.hang_up();
        house.phone("1001").wait_idle().await;
        assert_eq!(house.take("1001").await, "0792");
        eva.hang_up();
        house.end().await;
    });
}

/// Q11: a caller who was told a position and is overtaken hears that position again, not a worse one.
#[test]
fn q11_a_spoken_position_stays_when_the_caller_is_overtaken() {
    play(async {
        let house = House::open(&[service().with("position_announcement: { every_seconds: 20 }")]);
        let busy = house.caller("0700", "99900");
        house.take("1001").await;
        pass(100).await;
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        pass(5_000).await;
        let third = ahead(&house, "0793", "99900", "600");
        pass(45_000).await;
        assert_eq!(house.line("99900"), ["0793", "0791", "0792"]);
        let said: Vec<String> = prompts(&second).into_iter().map(|(_, name)| name).collect();
        assert_eq!(said, ["en/position-2.wav"; 3]);
        for caller in [busy, first, second, third] {
            caller.hang_up();
        }
        house.end().await;
    });
}

/// Q25, Q19: head starts outlive the daemon, also when the file changes meanwhile; a caller who is not back yet keeps the
/// head start too.
#[test]
fn q19_a_head_start_outlives_the_daemon() {
    play(async {
        let house = House::durable("q19-head-start", &[service()]);
        let busy = house.caller("0700", "99900");
        house.take("1001").await;
        let callers =
            [house.caller("0791", "99900"), ahead(&house, "0792", "99900", "3"), ahead(&house, "0793", "99900", "600")];
        pass(5_000).await;
        let fourth = house.caller("0794", "99900");
        let line = ["0793", "0792", "0791", "0794"];
        pass(100).await;
        assert_eq!(house.line("99900"), line);
        for _ in 0..2 {
            house.kill().await;
            pass(7_000).await;
            house.start_again();
            house.settled().await;
            pass(3_000).await;
            assert_eq!(house.line("99900"), line);
        }
        busy.hang_up();
        let all: Vec<Caller> = callers.into_iter().chain([fourth]).collect();
        let served = serve(house, "1001", &all).await;
        assert_eq!(served[1..], line);
    });
}
