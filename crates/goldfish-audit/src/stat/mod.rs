//! Statistics: intervals that account for the dependence between probes of one cluster.

mod bootstrap;
mod clusters;
mod compare;
mod estimate;
mod interval;
mod join;
mod out_of_range;
mod plan;
mod randomization;
mod roc;

pub use bootstrap::{Bootstrap, Range};
pub use clusters::Clusters;
pub use compare::{McNemar, excess_rate, mcnemar};
pub use estimate::{Difference, Mean, Rate, RateMethod};
pub use interval::{Effective, clopper_pearson, rate, rate_interval, rule_of_three, t_quantile, wilson};
pub use join::Joined;
pub use out_of_range::OutOfRange;
pub use plan::{PlanRequest, probes_needed};
pub use randomization::{chance_exposure, exposure, holm, sign_test, signed_rank};
pub use roc::auc;
