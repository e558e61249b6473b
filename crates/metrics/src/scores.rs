//! All metrics of one class in one case.

use crate::{Counts, Labels, Result, SurfaceDistances};

/// A metric, by the name that it has in files and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// [`Counts::dice`].
    Dice,
    /// [`Counts::iou`].
    Iou,
    /// [`Counts::precision`].
    Precision,
    /// [`Counts::recall`].
    Recall,
    /// [`Counts::specificity`].
    Specificity,
    /// [`Counts::relative_volume_difference`].
    Rvd,
    /// [`SurfaceDistances::hausdorff`].
    Hd,
    /// [`SurfaceDistances::hausdorff95`].
    Hd95,
    /// [`SurfaceDistances::assd`].
    Assd,
    /// [`SurfaceDistances::asd`].
    Asd,
    /// [`SurfaceDistances::surface_dice`].
    Nsd,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 11] = [
        Self::Dice,
        Self::Iou,
        Self::Precision,
        Self::Recall,
        Self::Specificity,
        Self::Rvd,
        Self::Hd,
        Self::Hd95,
        Self::Assd,
        Self::Asd,
        Self::Nsd,
    ];

    /// Its name: `Dice`, `IoU`, `Precision`, `Recall`, `Specificity`, `RVD`, `HD`, `HD95`, `ASSD`, `ASD`, `NSD`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dice => "Dice",
            Self::Iou => "IoU",
            Self::Precision => "Precision",
            Self::Recall => "Recall",
            Self::Specificity => "Specificity",
            Self::Rvd => "RVD",
            Self::Hd => "HD",
            Self::Hd95 => "HD95",
            Self::Assd => "ASSD",
            Self::Asd => "ASD",
            Self::Nsd => "NSD",
        }
    }
}

/// The scores of one class in one case. A metric that is undefined is `None`, one without bound infinite.
///
/// | | neither holds the class | only one of the two does |
/// |---|---|---|
/// | Dice, IoU, NSD | `None` | 0 |
/// | precision | `None` | `None` where nothing is predicted, else 0 |
/// | recall | `None` | `None` where the reference holds nothing, else 0 |
/// | RVD | `None` | infinite where the reference holds nothing, else -1 |
/// | HD, HD95, ASSD, ASD | `None` | infinite |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The confusion matrix, which the overlap metrics follow from.
    pub counts: Counts,
    /// Hausdorff distance, in the unit of the spacing.
    pub hausdorff: Option<f64>,
    /// Its 95th percentile, over both directions together.
    pub hausdorff95: Option<f64>,
    /// Average symmetric surface distance.
    pub assd: Option<f64>,
    /// Average surface distance, from the prediction to the reference.
    pub asd: Option<f64>,
    /// Surface Dice at the tolerance.
    pub surface_dice: Option<f64>,
}

impl Scores {
    /// Scores the class `class`, its surface Dice at `tolerance` in the unit of the spacing.
    ///
    /// # Errors
    /// [`Error::Grids`](crate::Error::Grids) when the two differ in shape or spacing.
    ///
    /// ```
    /// use unet3p_metrics::{Labels, Metric, Scores};
    /// let prediction = Labels::new(&[0u8, 1, 1, 0, 1, 1], &[2, 3], &[0.8, 0.8])?;
    /// let reference = Labels::new(&[0u8, 1, 1, 0, 0, 1], &[2, 3], &[0.8, 0.8])?;
    /// let scores = Scores::of_class(&prediction, &reference, 1, 1.0)?;
    /// assert_eq!(scores.get(Metric::Dice), Some(6.0 / 7.0));
    /// assert_eq!(scores.get(Metric::Hd), Some(0.8));
    /// assert_eq!(scores.get(Metric::Nsd), Some(1.0));
    /// // No sample of class 2 anywhere: undefined.
    /// let scores = Scores::of_class(&prediction, &reference, 2, 1.0)?;
    /// assert_eq!(scores.get(Metric::Dice), None);
    /// # Ok::<(), unet3p_metrics::Error>(())
    /// ```
    pub fn of_class<T: Copy + PartialEq + Sync>(
        prediction: &Labels<'_, T>,
        reference: &Labels<'_, T>,
        class: T,
        tolerance: f64,
    ) -> Result<Self> {
        let counts = Counts::of_class(prediction, reference, class)?;
        let distances = SurfaceDistances::of_class(prediction, reference, class)?;
        Ok(Self {
            counts,
            hausdorff: distances.hausdorff(),
            hausdorff95: distances.hausdorff95(),
            assd: distances.assd(),
            asd: distances.asd(),
            surface_dice: distances.surface_dice(tolerance),
        })
    }

    /// The scores of a class that neither mask of `samples` pixels or voxels holds.
    pub fn absent(samples: u64) -> Self {
        Self {
            counts: Counts { true_negatives: samples, ..Counts::default() },
            hausdorff: None,
            hausdorff95: None,
            assd: None,
            asd: None,
            surface_dice: None,
        }
    }

    /// The value of a metric.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Dice => self.counts.dice(),
            Metric::Iou => self.counts.iou(),
            Metric::Precision => self.counts.precision(),
            Metric::Recall => self.counts.recall(),
            Metric::Specificity => self.counts.specificity(),
            Metric::Rvd => self.counts.relative_volume_difference(),
            Metric::Hd => self.hausdorff,
            Metric::Hd95 => self.hausdorff95,
            Metric::Assd => self.assd,
            Metric::Asd => self.asd,
            Metric::Nsd => self.surface_dice,
        }
    }
}
