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
