#[allow(unused_imports)]
use crate::*;
/// What the library found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// `name`
    pub name: Vec<u8>,
    /// `offset`
    pub offset: i64,
    /// `content`
    pub content: Vec<u8>,
}
impl Structure for Finding {
    fn encode<N: DeviceNames + ?Sized>(&self, out: &mut xdr::Encoder, _names: &N) {
        out.opaque(&self.name);
        out.i64(self.offset);
        out.opaque(&self.content);
    }
}
impl Plain for Finding {}
impl Finding {
    /// Takes the structure off the front.
    ///
    /// # Errors
    ///
    /// When the bytes are no such structure.
    pub fn decode(input: &mut xdr::Decoder<'_>) -> Result<Self, xdr::Malformed> {
        Ok(Self {
            name: input.string()?.to_vec(),
            offset: input.i64()?,
            content: input.opaque()?.to_vec(),
        })
    }
}
/// Optional arguments of `look`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookOptions<'a> {
    /// a word to look for
    pub word: Option<&'a [u8]>,
}
/// A library in a process of its own.
///
/// Served in a process of its own: `idl/worker/parser.idl`.
#[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
#[diagnostic::on_unimplemented(
    message = "the calls of idl/worker/parser.idl have no handlers",
    note = "write `impl ParserWorker` in daemon/src/worker/parser.rs"
)]
pub trait ParserWorker {
    /// Look at two files.
    ///
    /// `first` and `second` are open; `depth` says how far to look.
    fn look(
        &mut self,
        first: std::os::fd::OwnedFd,
        depth: i32,
        second: std::os::fd::OwnedFd,
        options: LookOptions<'_>,
    ) -> Result<List<Finding>>;
    /// Forget what has been found.
    fn forget(&mut self) -> Result<()>;
}
fn call_look<W: ParserWorker>(worker: &mut W, call: &mut Call<'_>) -> Result<Reply> {
    let mut args = call.arguments(1u32)?;
    let arg_depth = args.take("depth", |input| input.i32())?;
    let options = LookOptions {
        word: args.option("word", |input| input.string())?,
    };
    let result = worker
        .look(
            call.descriptor("first")?,
            arg_depth,
            call.descriptor("second")?,
            options,
        )?;
    call.reply(|out| {
        result.encode(out, &host::NoDevices);
    })
}
fn call_forget<W: ParserWorker>(worker: &mut W, call: &mut Call<'_>) -> Result<Reply> {
    call.arguments(0u32)?;
    worker.forget()?;
    call.reply_empty()
}
/// Takes a call to its handler in the worker, and gives back the reply.
///
/// # Errors
///
/// What becomes an error reply.
pub fn dispatch<W: ParserWorker>(worker: &mut W, call: &mut Call<'_>) -> Result<Reply> {
    match call.procedure() {
        1u32 => call_look(worker, call),
        2u32 => call_forget(worker, call),
        number => host::unknown(number),
    }
}
/// Makes the calls of a worker.
pub struct ParserClient<'a>(pub &'a mut dyn worker::Caller);
#[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
impl ParserClient<'_> {
    /// Look at two files.
    ///
    /// `first` and `second` are open; `depth` says how far to look.
    pub fn look(
        &mut self,
        first: std::os::fd::BorrowedFd<'_>,
        depth: i32,
        second: std::os::fd::BorrowedFd<'_>,
        options: &LookOptions<'_>,
    ) -> Result<Vec<Finding>> {
        let mut out = xdr::Encoder::new();
        out.i32(depth);
        let mut bits = 0u64;
        if options.word.is_some() {
            bits |= 1 << 0usize;
        }
        out.opaque(options.word.unwrap_or_default());
        let reply = self.0.call(1u32, bits, out, &[first, second])?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.list(Finding::decode)?;
        worker::finished(&input)?;
        Ok(value)
    }
    /// Forget what has been found.
    pub fn forget(&mut self) -> Result<()> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.0.call(2u32, bits, out, &[])?;
        worker::finished(&xdr::Decoder::new(&reply))
    }
}
