//! The switch's own Event Socket, for the controller's inbound link.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::book::Channel;
use super::command::{Command, take};
use super::{Id, Switch};

/// Serves one link at a time; events without a link are dropped.
pub(super) async fn serve(
    switch: &Arc<Switch>,
    listener: TcpListener,
    mut reports: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            event = reports.recv() => match event {
                Some(_) => continue,
                None => return Ok(()),
            },
        };
        // The end of a link is the controller's business.
        let _ = link(switch, stream, &mut reports).await;
    }
}

async fn link(switch: &Arc<Switch>, mut stream: TcpStream, reports: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"Content-Type: auth/request\n\n").await?;
    let mut received = Vec::new();
    loop {
        tokio::select! {
            read = stream.read_buf(&mut received) => {
                if read? == 0 {
                    return Ok(());
                }
                let mut done = 0;
                while let Some((command, length)) = take(received.get(done..).unwrap_or_default()) {
                    done += length;
                    let answer = answer(switch, &command);
                    stream.write_all(answer.as_bytes()).await?;
                }
                received.drain(..done);
            }
            event = reports.recv() => match event {
                Some(event) => stream.write_all(&event).await?,
                None => return Ok(()),
            },
        }
    }
}

fn answer(switch: &Switch, command: &Command) -> String {
    let body = match command {
        Command::Api(call) if call.starts_with("show channels") => listing(switch, row),
        Command::Api(call) if call.starts_with("show calls") => listing(switch, pair),
        // As many sessions as in the measurements beside mod_callcenter. With FreeSWITCH's default of 30 a second, the
        // controller's restraint would be measured instead of its speed.
        Command::Api(call) if call == "status" => {
            "0 session(s) per Sec out of max 1000, peak 0, last 5min 0\n".to_owned()
        }
        // The controller asks only about legs that have just ended.
        Command::Api(call) if call.starts_with("uuid_dump") => "-ERR No such channel!\n".to_owned(),
        Command::Api(_) | Command::Kill(_) => "+OK\n".to_owned(),
        _ => return "Content-Type: command/reply\nReply-Text: +OK accepted\n\n".to_owned(),
    };
    format!("Content-Type: api/response\nContent-Length: {}\n\n{body}", body.len())
}

fn listing(switch: &Switch, row: fn(&mut String, &Id, &Channel) -> bool) -> String {
    let channels: Vec<(Id, Channel)> = switch.book().channels.iter().map(|(id, c)| (*id, c.clone())).collect();
    let mut rows = String::with_capacity(channels.len() << 10);
    let mut count = 0;
    for (id, channel) in &channels {
        let before = rows.len();
        if count > 0 {
            rows.push(',');
        }
        if row(&mut rows, id, channel) { count += 1 } else { rows.truncate(before) }
    }
    if count == 0 { "{\"row_count\":0}".to_owned() } else { format!("{{\"row_count\":{count},\"rows\":[{rows}]}}") }
}

/// A row of `show channels as json`, with the columns of the capture `inbound-link`.
fn row(out: &mut String, id: &Id, channel: &Channel) -> bool {
    let id = String::from_utf8_lossy(id);
    let (direction, name, presence) = match &channel.agent {
        Some(agent) => ("outbound", format!("sofia/internal/{agent}@127.0.0.1:37026"), format!("{agent}@lab")),
        None => ("inbound", "sofia/trunk/0791234567@pstn".to_owned(), String::new()),
    };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"{{"uuid":"{id}","direction":"{direction}","created":"2026-11-22 09:16:37","created_epoch":"1795338997","name":"{name}","state":"CS_EXECUTE","cid_name":"Hans Muster","cid_num":"0791234567","ip_addr":"127.0.0.1","dest":"99000","application":"playback","application_data":"tone_stream://%(1000,4000,425);loops=-1","dialplan":"XML","context":"default","read_codec":"PCMU","read_rate":"8000","read_bit_rate":"64000","write_codec":"PCMU","write_rate":"8000","write_bit_rate":"64000","secure":"","hostname":"vm","presence_id":"{presence}","presence_data":"","accountcode":"","callstate":"ACTIVE","callee_name":"","callee_num":"","callee_direction":"","call_uuid":"{id}","sent_callee_name":"","sent_callee_num":"","initial_cid_name":"Hans Muster","initial_cid_num":"0791234567","initial_ip_addr":"127.0.0.1","initial_dest":"99000","initial_dialplan":"XML","initial_context":"default"}}"#
    );
    true
}

/// A row of `show calls as json`, once for each pair of connected channels.
fn pair(out: &mut String, id: &Id, channel: &Channel) -> bool {
    let (Some(other), None) = (&channel.other, &channel.agent) else { return false };
    let (id, other) = (String::from_utf8_lossy(id), String::from_utf8_lossy(other));
    let _ = write!(
        out,
        r#"{{"uuid":"{id}","direction":"inbound","created":"2026-11-22 09:16:37","created_epoch":"1795338997","name":"sofia/trunk/0791234567@pstn","state":"CS_SOFT_EXECUTE","cid_name":"Hans Muster","cid_num":"0791234567","ip_addr":"127.0.0.1","dest":"99000","presence_id":"","presence_data":"","accountcode":"","callstate":"ACTIVE","callee_name":"Outbound Call","callee_num":"1002","callee_direction":"SEND","call_uuid":"{id}","hostname":"vm","sent_callee_name":"Outbound Call","sent_callee_num":"1002","b_uuid":"{other}","b_direction":"outbound","b_created":"2026-11-22 09:16:37","b_created_epoch":"1795338997","b_name":"sofia/internal/1002@127.0.0.1:37026","b_state":"CS_EXCHANGE_MEDIA","b_cid_name":"Hans Muster","b_cid_num":"0791234567","b_ip_addr":"127.0.0.1","b_dest":"1002","b_presence_id":"1002@lab","b_presence_data":"","b_accountcode":"","b_callstate":"ACTIVE","b_callee_name":"Outbound Call","b_callee_num":"1002","b_callee_direction":"SEND","b_sent_callee_name":"Hans Muster","b_sent_callee_num":"0791234567","call_created_epoch":"1795338997"}}"#
    );
    true
}
