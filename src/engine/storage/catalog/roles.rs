//! Roles in the catalog.

use crate::engine::storage::catalog::Catalog;
use crate::engine::storage::catalog::entries::{Contents, Role, check_identifier};
use crate::error::{Error, ErrorKind, Result, Subject};

impl Catalog {
    /// The role of this name, if there is one.
    pub fn role(&self, name: &str) -> Result<Option<Role>> {
        Ok(self.contents()?.roles.get(name).cloned())
    }

    /// Creates the role `name`; false when it was there already.
    pub async fn create_role(&self, name: &str, role: Role, if_not_exists: bool) -> Result<bool> {
        let name = name.to_owned();
        self.update(move |contents| {
            check_identifier(&name, Subject::Role)?;
            if contents.roles.contains_key(&name) {
                if if_not_exists {
                    return Ok(false);
                }
                let message = format!("role \"{name}\" already exists");
                return Err(Error::new(ErrorKind::Exists, Subject::Role, message));
            }
            contents.roles.insert(name, role);
            Ok(true)
        })
        .await
    }

    /// Changes the role `name`.
    pub async fn alter_role(
        &self,
        name: &str,
        change: impl FnOnce(&mut Role) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let name = name.to_owned();
        self.update(move |contents| change(known(contents, &name)?)).await
    }
}

fn known<'a>(contents: &'a mut Contents, name: &str) -> Result<&'a mut Role> {
    contents
        .roles
        .get_mut(name)
        .ok_or_else(|| Error::not_found(Subject::Role, format!("role \"{name}\" does not exist")))
}
