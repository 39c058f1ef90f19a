//! Why a channel ended.

use std::fmt;

macro_rules! causes {
    ($($cause:ident = $name:literal,)+) => {
        /// A hang-up cause, named as FreeSWITCH names it (`CAUSE_CHART` of `switch_channel.c`; most are Q.850's).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        pub enum Cause {
            $($cause,)+
            /// A cause this project has no word for. Sent to FreeSWITCH it means NORMAL_CLEARING.
            Other,
        }

        impl Cause {
            /// Every cause that has a name of its own.
            pub const NAMED: &'static [Self] = &[$(Self::$cause),+];

            /// FreeSWITCH's name; `OTHER` for [`Cause::Other`].
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)+
                    Self::Other => "OTHER",
                }
            }

            /// The cause FreeSWITCH means by `name`.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$cause,)+
                    _ => Self::Other,
                }
            }
        }
    };
}

causes! {
    None = "NONE",
    UnallocatedNumber = "UNALLOCATED_NUMBER",
    NoRouteTransitNet = "NO_ROUTE_TRANSIT_NET",
    NoRouteDestination = "NO_ROUTE_DESTINATION",
    ChannelUnacceptable = "CHANNEL_UNACCEPTABLE",
    CallAwardedDelivered = "CALL_AWARDED_DELIVERED",
    NormalClearing = "NORMAL_CLEARING",
    UserBusy = "USER_BUSY",
    NoUserResponse = "NO_USER_RESPONSE",
    NoAnswer = "NO_ANSWER",
    SubscriberAbsent = "SUBSCRIBER_ABSENT",
    CallRejected = "CALL_REJECTED",
    NumberChanged = "NUMBER_CHANGED",
    RedirectionToNewDestination = "REDIRECTION_TO_NEW_DESTINATION",
    ExchangeRoutingError = "EXCHANGE_ROUTING_ERROR",
    DestinationOutOfOrder = "DESTINATION_OUT_OF_ORDER",
    InvalidNumberFormat = "INVALID_NUMBER_FORMAT",
    FacilityRejected = "FACILITY_REJECTED",
    ResponseToStatusEnquiry = "RESPONSE_TO_STATUS_ENQUIRY",
    NormalUnspecified = "NORMAL_UNSPECIFIED",
    NormalCircuitCongestion = "NORMAL_CIRCUIT_CONGESTION",
    NetworkOutOfOrder = "NETWORK_OUT_OF_ORDER",
    NormalTemporaryFailure = "NORMAL_TEMPORARY_FAILURE",
    SwitchCongestion = "SWITCH_CONGESTION",
    AccessInfoDiscarded = "ACCESS_INFO_DISCARDED",
    RequestedChanUnavail = "REQUESTED_CHAN_UNAVAIL",
    PreEmpted = "PRE_EMPTED",
    FacilityNotSubscribed = "FACILITY_NOT_SUBSCRIBED",
    OutgoingCallBarred = "OUTGOING_CALL_BARRED",
    IncomingCallBarred = "INCOMING_CALL_BARRED",
    BearercapabilityNotauth = "BEARERCAPABILITY_NOTAUTH",
    BearercapabilityNotavail = "BEARERCAPABILITY_NOTAVAIL",
    ServiceUnavailable = "SERVICE_UNAVAILABLE",
    BearercapabilityNotimpl = "BEARERCAPABILITY_NOTIMPL",
    ChanNotImplemented = "CHAN_NOT_IMPLEMENTED",
    FacilityNotImplemented = "FACILITY_NOT_IMPLEMENTED",
    ServiceNotImplemented = "SERVICE_NOT_IMPLEMENTED",
    InvalidCallReference = "INVALID_CALL_REFERENCE",
    IncompatibleDestination = "INCOMPATIBLE_DESTINATION",
    InvalidMsgUnspecified = "INVALID_MSG_UNSPECIFIED",
    MandatoryIeMissing = "MANDATORY_IE_MISSING",
    MessageTypeNonexist = "MESSAGE_TYPE_NONEXIST",
    WrongMessage = "WRONG_MESSAGE",
    IeNonexist = "IE_NONEXIST",
    InvalidIeContents = "INVALID_IE_CONTENTS",
    WrongCallState = "WRONG_CALL_STATE",
    RecoveryOnTimerExpire = "RECOVERY_ON_TIMER_EXPIRE",
    MandatoryIeLengthError = "MANDATORY_IE_LENGTH_ERROR",
    ProtocolError = "PROTOCOL_ERROR",
    Interworking = "INTERWORKING",
    Success = "SUCCESS",
    OriginatorCancel = "ORIGINATOR_CANCEL",
    Crash = "CRASH",
    SystemShutdown = "SYSTEM_SHUTDOWN",
    LoseRace = "LOSE_RACE",
    ManagerRequest = "MANAGER_REQUEST",
    BlindTransfer = "BLIND_TRANSFER",
    AttendedTransfer = "ATTENDED_TRANSFER",
    AllottedTimeout = "ALLOTTED_TIMEOUT",
    UserChallenge = "USER_CHALLENGE",
    MediaTimeout = "MEDIA_TIMEOUT",
    PickedOff = "PICKED_OFF",
    UserNotRegistered = "USER_NOT_REGISTERED",
    ProgressTimeout = "PROGRESS_TIMEOUT",
    InvalidGateway = "INVALID_GATEWAY",
    GatewayDown = "GATEWAY_DOWN",
    InvalidUrl = "INVALID_URL",
    InvalidProfile = "INVALID_PROFILE",
    NoPickup = "NO_PICKUP",
    SrtpReadError = "SRTP_READ_ERROR",
    Bowout = "BOWOUT",
    BusyEverywhere = "BUSY_EVERYWHERE",
    Decline = "DECLINE",
    DoesNotExistAnywhere = "DOES_NOT_EXIST_ANYWHERE",
    NotAcceptable = "NOT_ACCEPTABLE",
    Unwanted = "UNWANTED",
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_causes_are_one_to_one() {
        for &cause in Cause::NAMED {
            assert_eq!(Cause::from_name(cause.as_str()), cause);
            assert!(cause.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        }
        assert_eq!(Cause::from_name("no_answer"), Cause::Other);
        assert_eq!(Cause::from_name(""), Cause::Other);
    }
}
