#[allow(unused_imports)]
use crate::*;
/// Every type of field.
///
/// The description goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// A number.
    pub a: i32,
    /// `b`
    pub b: u32,
    /// `c`
    pub c: i64,
    /// `d`
    pub d: u64,
    /// `e`
    pub e: i64,
    /// `f`
    pub f: [u8; 32],
    /// `g`
    pub g: f32,
    /// `h`
    pub h: u8,
    /// `i`
    pub i: Vec<u8>,
    /// `j`
    pub j: Device,
    /// `k`
    pub k: Vec<u8>,
}
impl Structure for Thing {
    fn encode<N: DeviceNames + ?Sized>(&self, out: &mut xdr::Encoder, names: &N) {
        out.i32(self.a);
        out.u32(self.b);
        out.i64(self.c);
        out.u64(self.d);
        out.i64(self.e);
        out.fixed(&self.f);
        out.f32(self.g);
        out.i32(i32::from(self.h.cast_signed()));
        out.opaque(&self.i);
        out.opaque(names.device_name(&self.j).as_bytes());
        out.opaque(&self.k);
    }
}
impl Thing {
    /// Takes the structure off the front.
    ///
    /// # Errors
    ///
    /// When the bytes are no such structure.
    pub fn decode(input: &mut xdr::Decoder<'_>) -> Result<Self, xdr::Malformed> {
        Ok(Self {
            a: input.i32()?,
            b: input.u32()?,
            c: input.i64()?,
            d: input.u64()?,
            e: input.i64()?,
            f: input.fixed()?,
            g: input.f32()?,
            h: input.i32()?.to_be_bytes()[3],
            i: input.string()?.to_vec(),
            j: Device::new(input.text()?),
            k: input.opaque()?.to_vec(),
        })
    }
}
/// Only the library sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    /// `a`
    pub a: i32,
}
impl Structure for Secret {
    fn encode<N: DeviceNames + ?Sized>(&self, out: &mut xdr::Encoder, _names: &N) {
        out.i32(self.a);
    }
}
impl Plain for Secret {}
impl Secret {
    /// Takes the structure off the front.
    ///
    /// # Errors
    ///
    /// When the bytes are no such structure.
    pub fn decode(input: &mut xdr::Decoder<'_>) -> Result<Self, xdr::Malformed> {
        Ok(Self { a: input.i32()? })
    }
}
/// Optional arguments of `all`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllOptions<'a> {
    /// whether or not
    pub oa: Option<bool>,
    /// `ob`
    pub ob: Option<i32>,
    /// `oc`
    pub oc: Option<i64>,
    /// `od`
    pub od: Option<&'a [u8]>,
    /// `oe`
    pub oe: Option<&'a str>,
    /// many words
    pub r#unsafe: Option<Vec<&'a [u8]>>,
}
/// Every form of the IDL.
///
/// With a second paragraph.
///
/// Handlers of `idl/test/everything.idl`.
#[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
#[diagnostic::on_unimplemented(
    message = "the actions of idl/test/everything.idl have no handlers",
    note = "write `impl EverythingActions for Daemon` in daemon/src/test/everything.rs, and `mod everything;` in the mod.rs beside it; `cargo xtask stub ACTION` prints a skeleton"
)]
pub trait EverythingActions {
    /// Take every type of parameter.
    ///
    /// That is `a`, `b`, `c`, `d`, `e`, `f`, `g`, `h`, `i`, `j`, `k`, `l`, `m` and `n`; also
    /// see \[lists\].
    fn all(
        &mut self,
        a: &[u8],
        b: Option<&[u8]>,
        c: &str,
        d: &str,
        e: Key,
        f: GuestPath,
        g: Device,
        h: Mountable,
        i: DeviceOrPath,
        j: MountableOrPath,
        k: &[u8],
        l: i32,
        m: i64,
        n: bool,
        options: AllOptions<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<()>;
    /// Take lists: `a`, `b`, `c`, `d` and `e`.
    fn lists(
        &mut self,
        a: Vec<&[u8]>,
        b: Vec<&str>,
        c: Vec<GuestPath>,
        d: Vec<Filename>,
        e: Vec<Device>,
    ) -> Result<Thing>;
    /// Write a stream, see `n` and `file`.
    fn writer(&mut self, n: i32, file: FileOut<'_>) -> Result<Sent>;
    /// Give a number.
    fn r_int(&mut self) -> Result<i32>;
    /// Give a large number.
    fn r_int64(&mut self) -> Result<i64>;
    /// Give a truth.
    fn r_bool(&mut self) -> Result<bool>;
    /// Give bytes.
    fn r_buffer(&mut self) -> Result<Vec<u8>>;
    /// Give a string.
    fn r_string(&mut self) -> Result<Vec<u8>>;
    /// Give a device.
    fn r_device(&mut self) -> Result<Device>;
    /// Give mountables.
    fn r_list(&mut self) -> Result<Vec<Mountable>>;
    /// Give pairs.
    fn r_map(&mut self) -> Result<Vec<(Vec<u8>, Device)>>;
    /// Give structures.
    fn r_structs(&mut self) -> Result<List<Thing>>;
    /// Give a text.
    fn r_text(&mut self, progress: &mut Progress<'_>) -> Result<String>;
    /// Give what only the library sees.
    fn r_secret(&mut self) -> Result<Secret>;
    /// Once upon a time.
    fn old_m(&mut self) -> Result<()>;
}
pub(super) fn call_all<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.require(daemon, super::Feature::Xfs)?;
    if let Some(reply) = daemon.forward(super::Feature::Xfs, call) {
        return reply;
    }
    let mut args = call.arguments(6u32)?;
    let arg_a = args.take("a", |input| input.string())?;
    let arg_b = args.take("b", |input| input.optional(|input| input.string()))?;
    let arg_c = args.take("c", |input| input.text())?;
    let arg_d = args.take("d", |input| input.text())?;
    let arg_e = args.take("e", |input| input.string().map(Key::new))?;
    let arg_f = args.take("f", |input| input.string())?;
    let arg_g = args.take("g", |input| input.string())?;
    let arg_h = args.take("h", |input| input.string())?;
    let arg_i = args.take("i", |input| input.string())?;
    let arg_j = args.take("j", |input| input.string())?;
    let arg_k = args.take("k", |input| input.opaque())?;
    let arg_l = args.take("l", |input| input.i32())?;
    let arg_m = args.take("m", |input| input.i64())?;
    let arg_n = args.take("n", |input| input.bool())?;
    let options = AllOptions {
        oa: args.option("oa", |input| input.bool())?,
        ob: args.option("ob", |input| input.i32())?,
        oc: args.option("oc", |input| input.i64())?,
        od: args.option("od", |input| input.string())?,
        oe: args.option("oe", |input| input.text())?,
        r#unsafe: args.option("unsafe", |input| input.list(|input| input.string()))?,
    };
    let arg_d = resolve::guid(arg_d)?;
    let arg_f = resolve::pathname(arg_f)?;
    let arg_g = resolve::device(daemon, arg_g)?;
    let arg_h = resolve::mountable(daemon, arg_h)?;
    let arg_i = resolve::device_or_path(daemon, arg_i)?;
    let arg_j = resolve::mountable_or_path(daemon, arg_j)?;
    daemon.require_root()?;
    let mut progress = call.progress();
    daemon
        .all(
            arg_a,
            arg_b,
            arg_c,
            arg_d,
            arg_e,
            arg_f,
            arg_g,
            arg_h,
            arg_i,
            arg_j,
            arg_k,
            arg_l,
            arg_m,
            arg_n,
            options,
            &mut progress,
        )?;
    call.reply_empty()
}
pub(super) fn call_lists<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    let mut args = call.arguments(0u32)?;
    let arg_a = args.take("a", |input| input.list(|input| input.string()))?;
    let arg_b = args.take("b", |input| input.list(|input| input.text()))?;
    let arg_c = args.take("c", |input| input.list(|input| input.string()))?;
    let arg_d = args.take("d", |input| input.list(|input| input.string()))?;
    let arg_e = args.take("e", |input| input.list(|input| input.string()))?;
    let arg_c = arg_c
        .into_iter()
        .map(|item| resolve::pathname(item))
        .collect::<Result<Vec<_>>>()?;
    let arg_d = arg_d
        .into_iter()
        .map(|item| resolve::filename(item))
        .collect::<Result<Vec<_>>>()?;
    let arg_e = arg_e
        .into_iter()
        .map(|item| resolve::device(daemon, item))
        .collect::<Result<Vec<_>>>()?;
    daemon.require_root()?;
    let result = daemon.lists(arg_a, arg_b, arg_c, arg_d, arg_e)?;
    call.reply(|out| {
        result.encode(out, daemon);
    })
}
pub(super) fn call_writer<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    let mut args = call.arguments(0u32)?;
    let arg_n = args.take("n", |input| input.i32())?;
    daemon.writer(arg_n, call.file_out()?).map(Reply::from)
}
pub(super) fn call_r_int<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_int()?;
    call.reply(|out| {
        out.i32(result);
    })
}
pub(super) fn call_r_int64<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_int64()?;
    call.reply(|out| {
        out.i64(result);
    })
}
pub(super) fn call_r_bool<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_bool()?;
    call.reply(|out| {
        out.bool(result);
    })
}
pub(super) fn call_r_buffer<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_buffer()?;
    call.reply(|out| {
        out.opaque(&result);
    })
}
pub(super) fn call_r_string<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_string()?;
    call.reply(|out| {
        out.opaque(&result);
    })
}
pub(super) fn call_r_device<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_device()?;
    call.reply(|out| {
        out.opaque(daemon.device_name(&result).as_bytes());
    })
}
pub(super) fn call_r_list<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_list()?;
    call.reply(|out| {
        out.len(result.len());
        for item in &result {
            out.opaque(&item.to_wire(&daemon.device_name(item.device())));
        }
    })
}
pub(super) fn call_r_map<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_map()?;
    call.reply(|out| {
        out.len(result.len() * 2);
        for (key, value) in &result {
            out.opaque(&key);
            out.opaque(daemon.device_name(&value).as_bytes());
        }
    })
}
pub(super) fn call_r_structs<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_structs()?;
    call.reply(|out| {
        result.encode(out, daemon);
    })
}
pub(super) fn call_r_text<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let mut progress = call.progress();
    let result = daemon.r_text(&mut progress)?;
    call.reply(|out| {
        out.opaque(result.as_bytes());
    })
}
pub(super) fn call_r_secret<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    let result = daemon.r_secret()?;
    call.reply(|out| {
        result.encode(out, daemon);
    })
}
pub(super) fn call_old_m<D: Host + EverythingActions>(
    daemon: &mut D,
    call: &mut Call<'_>,
) -> Result<Reply> {
    call.arguments(0u32)?;
    daemon.old_m()?;
    call.reply_empty()
}
#[cfg(feature = "client")]
#[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
impl<S: std::io::Read + std::io::Write> client::Client<S> {
    /// Take every type of parameter.
    ///
    /// That is `a`, `b`, `c`, `d`, `e`, `f`, `g`, `h`, `i`, `j`, `k`, `l`, `m` and `n`; also
    /// see \[lists\].
    pub fn all(
        &mut self,
        a: &(impl AsRef<[u8]> + ?Sized),
        b: Option<&[u8]>,
        c: &(impl AsRef<[u8]> + ?Sized),
        d: &(impl AsRef<[u8]> + ?Sized),
        e: &(impl AsRef<[u8]> + ?Sized),
        f: &(impl AsRef<[u8]> + ?Sized),
        g: &(impl AsRef<[u8]> + ?Sized),
        h: &(impl AsRef<[u8]> + ?Sized),
        i: &(impl AsRef<[u8]> + ?Sized),
        j: &(impl AsRef<[u8]> + ?Sized),
        k: &(impl AsRef<[u8]> + ?Sized),
        l: i32,
        m: i64,
        n: bool,
        options: &AllOptions<'_>,
    ) -> Result<(), client::ClientError> {
        let mut out = xdr::Encoder::new();
        out.opaque(a.as_ref());
        out.bool(b.is_some());
        if let Some(b) = b {
            out.opaque(b);
        }
        out.opaque(c.as_ref());
        out.opaque(d.as_ref());
        out.opaque(e.as_ref());
        out.opaque(f.as_ref());
        out.opaque(g.as_ref());
        out.opaque(h.as_ref());
        out.opaque(i.as_ref());
        out.opaque(j.as_ref());
        out.opaque(k.as_ref());
        out.i32(l);
        out.i64(m);
        out.bool(n);
        let mut bits = 0u64;
        if options.oa.is_some() {
            bits |= 1 << 0usize;
        }
        out.bool(options.oa.unwrap_or_default());
        if options.ob.is_some() {
            bits |= 1 << 1usize;
        }
        out.i32(options.ob.unwrap_or_default());
        if options.oc.is_some() {
            bits |= 1 << 2usize;
        }
        out.i64(options.oc.unwrap_or_default());
        if options.od.is_some() {
            bits |= 1 << 3usize;
        }
        out.opaque(options.od.unwrap_or_default());
        if options.oe.is_some() {
            bits |= 1 << 4usize;
        }
        out.opaque(options.oe.unwrap_or_default().as_bytes());
        if options.r#unsafe.is_some() {
            bits |= 1 << 5usize;
        }
        let list = options.r#unsafe.as_deref().unwrap_or_default();
        out.len(list.len());
        for item in list {
            out.opaque(item);
        }
        let reply = self.call(1u32, bits, out, None, None)?;
        client::finished(&xdr::Decoder::new(&reply))
    }
    /// Take lists: `a`, `b`, `c`, `d` and `e`.
    pub fn lists(
        &mut self,
        a: &[impl AsRef<[u8]>],
        b: &[impl AsRef<[u8]>],
        c: &[impl AsRef<[u8]>],
        d: &[impl AsRef<[u8]>],
        e: &[impl AsRef<[u8]>],
    ) -> Result<Thing, client::ClientError> {
        let mut out = xdr::Encoder::new();
        out.len(a.len());
        for item in a {
            out.opaque(item.as_ref());
        }
        out.len(b.len());
        for item in b {
            out.opaque(item.as_ref());
        }
        out.len(c.len());
        for item in c {
            out.opaque(item.as_ref());
        }
        out.len(d.len());
        for item in d {
            out.opaque(item.as_ref());
        }
        out.len(e.len());
        for item in e {
            out.opaque(item.as_ref());
        }
        let bits = 0u64;
        let reply = self.call(2u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = Thing::decode(&mut input)?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Read the stream `file`, `n` times.
    pub fn reader(
        &mut self,
        file: &mut dyn std::io::Read,
        n: i32,
    ) -> Result<(), client::ClientError> {
        let mut out = xdr::Encoder::new();
        out.i32(n);
        let bits = 0u64;
        let reply = self.call(3u32, bits, out, Some(file), None)?;
        client::finished(&xdr::Decoder::new(&reply))
    }
    /// Write a stream, see `n` and `file`.
    pub fn writer(
        &mut self,
        n: i32,
        file: &mut dyn std::io::Write,
    ) -> Result<(), client::ClientError> {
        let mut out = xdr::Encoder::new();
        out.i32(n);
        let bits = 0u64;
        let reply = self.call(4u32, bits, out, None, Some(file))?;
        client::finished(&xdr::Decoder::new(&reply))
    }
    /// Give a number.
    pub fn r_int(&mut self) -> Result<i32, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(5u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.i32()?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give a large number.
    pub fn r_int64(&mut self) -> Result<i64, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(6u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.i64()?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give a truth.
    pub fn r_bool(&mut self) -> Result<bool, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(7u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.bool()?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give bytes.
    pub fn r_buffer(&mut self) -> Result<Vec<u8>, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(8u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.opaque()?.to_vec();
        client::finished(&input)?;
        Ok(value)
    }
    /// Give a string.
    pub fn r_string(&mut self) -> Result<Vec<u8>, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(9u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.string().map(<[u8]>::to_vec)?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give a device.
    pub fn r_device(&mut self) -> Result<String, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(10u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.text().map(str::to_owned)?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give mountables.
    pub fn r_list(&mut self) -> Result<Vec<String>, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(11u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.list(|input| input.text().map(str::to_owned))?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give pairs.
    pub fn r_map(&mut self) -> Result<Vec<(Vec<u8>, String)>, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(12u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = {
            let count = input.u32()?;
            if count % 2 != 0 {
                return Err(xdr::Malformed::OddMap.into());
            }
            let mut pairs = Vec::new();
            for _ in 0..count / 2 {
                pairs
                    .push((
                        input.string().map(<[u8]>::to_vec)?,
                        input.text().map(str::to_owned)?,
                    ));
            }
            pairs
        };
        client::finished(&input)?;
        Ok(value)
    }
    /// Give structures.
    pub fn r_structs(&mut self) -> Result<Vec<Thing>, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(13u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.list(Thing::decode)?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give a text.
    pub fn r_text(&mut self) -> Result<String, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(14u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = input.text().map(str::to_owned)?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Give what only the library sees.
    pub fn r_secret(&mut self) -> Result<Secret, client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(15u32, bits, out, None, None)?;
        let mut input = xdr::Decoder::new(&reply);
        let value = Secret::decode(&mut input)?;
        client::finished(&input)?;
        Ok(value)
    }
    /// Once upon a time.
    pub fn old_m(&mut self) -> Result<(), client::ClientError> {
        let out = xdr::Encoder::new();
        let bits = 0u64;
        let reply = self.call(16u32, bits, out, None, None)?;
        client::finished(&xdr::Decoder::new(&reply))
    }
}
