//! `cargo xtask status`: what works and what is still to be written.

use codegen::model::Module;

/// Count the actions that have a handler and those that do not, per module.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name the pending actions of each module.
    #[arg(long)]
    pending: bool,
}

#[derive(Default)]
struct Count {
    actions: usize,
    working: usize,
}

impl Count {
    fn of(module: &Module) -> Self {
        let working = module
            .actions
            .iter()
            .filter(|action| !action.pending)
            .count();
        Self {
            actions: module.actions.len(),
            working,
        }
    }

    fn row(&self, name: &str) -> String {
        format!(
            "{name:32} {:>7} {:>7} {:>7}",
            self.actions,
            self.working,
            self.actions - self.working
        )
    }
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let model = crate::model()?;
        println!(
            "{:32} {:>7} {:>7} {:>7}",
            "module", "actions", "working", "pending"
        );
        let mut total = Count::default();
        for module in &model.modules {
            let count = Count::of(module);
            println!("{}", count.row(&format!("{}/{}", module.area, module.name)));
            if self.pending {
                for action in module.actions.iter().filter(|action| action.pending) {
                    println!("    {}", action.name);
                }
            }
            total.actions += count.actions;
            total.working += count.working;
        }
        println!("{}", total.row("total"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn the_numbers_in_the_readme_are_current() {
        let model = crate::model().expect("the IDL is right");
        let counts: Vec<Count> = model.modules.iter().map(Count::of).collect();
        let sum = |number: fn(&Count) -> usize| counts.iter().map(number).sum::<usize>();
        let (working, actions) = (sum(|count| count.working), sum(|count| count.actions));
        let readme = std::fs::read_to_string(crate::repository().join("README.md"));
        let wanted = format!("{working} of the {actions} calls have a handler");
        assert!(readme.expect("README.md").contains(&wanted), "{wanted}");
    }
}
