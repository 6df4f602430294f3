use super::Inventory;
use crate::base::name::HostName;
pub struct Selection;
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct SelectionError;
impl SelectionError {
    pub fn hint(&self) -> Option<String> {
        None
    }
}
impl Selection {
    pub fn parse(_: &str) -> Result<Self, SelectionError> {
        Ok(Self)
    }
    pub fn select(&self, i: &Inventory) -> Result<Vec<HostName>, SelectionError> {
        Ok(i.hosts.keys().cloned().collect())
    }
}
