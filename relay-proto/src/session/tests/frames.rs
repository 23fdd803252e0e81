use super::*;
use alloc::{format, string::ToString, vec::Vec};
use proptest::prelude::*;

#[test]
fn payloads_are_slices_of_the_message() {
    let message = Bytes::from_static(b"\x02\x01\x00\x07hello");
    let SessionFrame::Numbered {
        body: Body::Data { channel, payload },
        ..
    } = SessionFrame::decode(&message).unwrap()
    else {
        panic!("not data")
    };
    assert_eq!((channel, &payload[..]), (7, &b"hello"[..]));
    assert_eq!(payload.as_ptr(), message[4..].as_ptr());
}

#[test]
fn content_stays_out_of_debug() {
    let secret = Bytes::from_static(b"secret");
    let body = Body::Data {
        channel: 3,
        payload: secret.clone(),
    };
    assert_eq!(format!("{body:?}"), "Data(3, 6 bytes)");
    assert_eq!(format!("{:?}", Body::Control(secret)), "Control(6 bytes)");
}

fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(noise, bits)| noise >> bits)
}

fn any_frame() -> impl Strategy<Value = SessionFrame> {
    let body = prop_oneof![
        any::<Vec<u8>>().prop_map(|octets| Body::Control(octets.into())),
        (any_number(), proptest::collection::vec(any::<u8>(), 1..100)).prop_map(
            |(channel, octets)| Body::Data {
                channel,
                payload: octets.into()
            }
        ),
    ];
    prop_oneof![
        any_number().prop_map(|ack| SessionFrame::Acknowledgement { ack }),
        (any_number(), any_number(), body).prop_map(|(seq, ack, body)| SessionFrame::Numbered {
            seq: seq.max(1),
            ack,
            body
        }),
    ]
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(frame in any_frame()) {
        let bytes = encoded(&frame);
        if let SessionFrame::Numbered { body, .. } = &frame {
            prop_assert!(bytes.len() <= HEADER_LIMIT + body.len());
        }
        prop_assert_eq!(SessionFrame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn a_frame_has_one_form(bytes in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..40)) {
        let bytes = Bytes::from(bytes);
        match SessionFrame::decode(&bytes) {
            Ok(frame) => prop_assert_eq!(encoded(&frame), bytes),
            Err(error) => prop_assert!(error.to_string().len() <= 123),
        }
    }
}
