//! Operations of a network, and what interprets them.

use super::layer::LayerId;

/// Size of an activation: `side` x `side` positions with `channels` each,
/// channels innermost in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Positions along each of the two axes.
    pub side: usize,
    /// Values at each position.
    pub channels: usize,
}

impl Shape {
    /// Values in all.
    #[must_use]
    pub const fn values(&self) -> usize {
        self.side * self.side * self.channels
    }
}

/// An activation: its shape, and whatever the interpreter keeps of it.
#[derive(Clone, Copy, Debug)]
pub struct Activation<D> {
    /// Its size.
    pub shape: Shape,
    /// The interpreter's part.
    pub data: D,
}

/// Which input positions an output position of a convolution sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Geometry {
    /// Only its own: 1x1.
    Pointwise,
    /// Its 3x3 neighbourhood.
    Same,
    /// The 3x3 neighbourhood of every second position.
    Down,
    /// The 3x3 neighbourhood after each position was doubled in both axes.
    Up,
}

impl Geometry {
    /// Positions seen: 1 or 9.
    #[must_use]
    pub const fn taps(self) -> usize {
        match self {
            Self::Pointwise => 1,
            Self::Same | Self::Down | Self::Up => 9,
        }
    }

    /// Output side for an input side.
    #[must_use]
    pub const fn output_side(self, side: usize) -> usize {
        match self {
            Self::Pointwise | Self::Same => side,
            Self::Down => side.div_ceil(2),
            Self::Up => side * 2,
        }
    }
}

/// A fully connected layer of the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Its name.
    pub id: LayerId,
    /// Values that it reads.
    pub inputs: usize,
    /// Values that it makes.
    pub outputs: usize,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl Linear {
    /// Multiply-accumulates of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.inputs as u64 * self.outputs as u64
    }
}

/// A table of which one row is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub id: LayerId,
    /// Rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
}

/// Term that is added to a convolution's sum before it is rounded.
#[derive(Clone, Copy, Debug)]
pub enum Extra<D> {
    /// Nothing.
    None,
    /// The embedding, projected by this layer to the output's channels.
    Embedding(Linear),
    /// An activation of the output's shape.
    Residual(Activation<D>),
}

/// Who reads an output, beside the next layers of its block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readers {
    /// A block on the way up: the output is a skip connection, and lives long.
    pub skip: bool,
    /// A 3x3 convolution, whose padding holds zero points: these must fit `i8`.
    pub padded: bool,
}

/// A convolution with bias and, for 3x3, zero padding of one position.
#[derive(Clone, Copy, Debug)]
pub struct Conv<D> {
    /// Its name.
    pub id: LayerId,
    /// Its input.
    pub x: Activation<D>,
    /// Further channels, concatenated behind those of `x`.
    pub skip: Option<Activation<D>>,
    /// Its taps.
    pub geometry: Geometry,
    /// Output channels.
    pub channels: usize,
    /// The term that is added.
    pub extra: Extra<D>,
    /// Whether the output's zero points are 0 and its channels share one scale,
    /// as attention wants it of queries, keys and values.
    pub symmetric: bool,
    /// Who reads the output.
    pub readers: Readers,
}

impl<D> Conv<D> {
    /// Input channels, skip included.
    #[must_use]
    pub fn input_channels(&self) -> usize {
        self.x.shape.channels + self.skip.as_ref().map_or(0, |skip| skip.shape.channels)
    }

    /// Weights for one output channel.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        self.geometry.taps() * self.input_channels()
    }

    /// The output's shape.
    #[must_use]
    pub fn output(&self) -> Shape {
        Shape {
            side: self.geometry.output_side(self.x.shape.side),
            channels: self.channels,
        }
    }

    /// Multiply-accumulates of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        // May be beyond 32 bits.
        self.output().values() as u64 * self.fan_in() as u64
    }
}

/// Group normalisation with a gain and an offset for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Norm<D> {
    /// Its name.
    pub id: LayerId,
    /// Its input.
    pub x: Activation<D>,
    /// Further channels, concatenated behind those of `x`.
    pub skip: Option<Activation<D>>,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl<D> Norm<D> {
    /// The output's shape.
    #[must_use]
    pub fn output(&self) -> Shape {
        Shape {
            side: self.x.shape.side,
            channels: self.x.shape.channels
                + self.skip.as_ref().map_or(0, |skip| skip.shape.channels),
        }
    }
}

/// Multi-head attention between queries, keys and values of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Attention<D> {
    /// Its name.
    pub id: LayerId,
    /// Queries.
    pub query: Activation<D>,
    /// Keys.
    pub key: Activation<D>,
    /// Values.
    pub value: Activation<D>,
}

impl<D> Attention<D> {
    /// Multiply-accumulates of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let shape = self.query.shape;
        2 * shape.values() as u64 * (shape.side * shape.side) as u64
    }
}

/// A meaning for the operations of the network.
pub trait Interpreter {
    /// The interpreter's part of an activation.
    type Data: Copy;
    /// Why an operation could not be done.
    type Error;

    /// Makes the embedding: so many sines and cosines of the timestep.
    ///
    /// # Errors
    /// The interpreter's own.
    fn timestep(&mut self, features: usize) -> Result<(), Self::Error>;

    /// Replaces the embedding by a layer of it.
    ///
    /// # Errors
    /// The interpreter's own.
    fn linear(&mut self, linear: &Linear) -> Result<(), Self::Error>;

    /// Adds the class's row, of a table whose last row is for no class, to the
    /// embedding; SiLU follows.
    ///
    /// # Errors
    /// The interpreter's own.
    fn classes(&mut self, table: &Table) -> Result<(), Self::Error>;

    /// The picture cut into patches, or what is seen of a point, quantised.
    ///
    /// # Errors
    /// The interpreter's own.
    fn input(&mut self, shape: Shape) -> Result<Self::Data, Self::Error>;

    /// A normalisation.
    ///
    /// # Errors
    /// The interpreter's own.
    fn norm(&mut self, norm: &Norm<Self::Data>) -> Result<Self::Data, Self::Error>;

    /// A convolution.
    ///
    /// # Errors
    /// The interpreter's own.
    fn conv(&mut self, conv: &Conv<Self::Data>) -> Result<Self::Data, Self::Error>;

    /// The layer of [`Extra::Embedding`] of the convolution before: its record
    /// follows the convolution's. An interpreter that computes has it done
    /// there and leaves nothing to do here.
    ///
    /// # Errors
    /// The interpreter's own.
    fn projection(&mut self, linear: &Linear) -> Result<(), Self::Error> {
        self.linear(linear)
    }

    /// An attention.
    ///
    /// # Errors
    /// The interpreter's own.
    fn attention(&mut self, attention: &Attention<Self::Data>) -> Result<Self::Data, Self::Error>;

    /// The last convolution, whose sums become the prediction.
    ///
    /// # Errors
    /// The interpreter's own.
    fn output(&mut self, conv: &Conv<Self::Data>) -> Result<(), Self::Error>;

    /// An activation that nothing reads any more.
    fn release(&mut self, data: Self::Data);
}
