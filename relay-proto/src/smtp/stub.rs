#![allow(missing_docs)]
use super::*;
use alloc::vec::Vec;
use bytes::Bytes;
#[derive(Debug)]
pub struct Dialogue;
#[derive(Debug)]
pub struct ScriptRun;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange;
impl Script {
    pub fn len(&self) -> usize {
        0
    }
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("x")]
pub struct DialogueError;
impl DialogueError {
    pub fn reply(&self) -> Option<&Reply> {
        None
    }
    pub fn is_transient(&self) -> bool {
        false
    }
    pub fn is_permanent(&self) -> bool {
        false
    }
}
impl Dialogue {
    pub fn new(_: HostName, _: Envelope, _: Bytes) -> Self {
        Self
    }
}
impl ScriptRun {
    pub fn new(_: HostName, _: Script) -> Self {
        Self
    }
}
#[derive(Debug)]
pub enum Conversation {
    Message(Dialogue),
    Script(ScriptRun),
}
pub struct Success {
    pub reply: Reply,
    pub accepted: Vec<ForwardPath>,
    pub rejected: Vec<(ForwardPath, Reply)>,
    pub transcript: Vec<Exchange>,
}
impl Conversation {
    pub fn handle_bytes(&mut self, _: &[u8]) {}
    pub fn poll_output(&mut self, _: usize) -> Option<Bytes> {
        None
    }
    pub fn is_past_end_of_data(&self) -> bool {
        false
    }
    pub fn is_decided(&self) -> bool {
        false
    }
    pub fn into_outcome(self) -> Result<Success, DialogueError> {
        Err(DialogueError)
    }
}
