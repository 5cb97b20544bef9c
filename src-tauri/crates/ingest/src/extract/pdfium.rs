//! The part of PDFium that text extraction and recognition need, bound by hand.
//!
//! Two thousand characters a page and three calls a character make the layers of a general binding
//! the greater part of the work, so these are plain calls through function pointers. PDFium is not
//! thread-safe: a [`Session`] holds the process's only lock for as long as anything is open.

use std::ffi::{CStr, CString, c_char, c_double, c_float, c_int, c_uint, c_ulong, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

type Handle = *mut c_void;

/// `FS_RECTF`, in page space: the origin is at the bottom left of an unrotated page.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Rect {
    pub left: c_float,
    pub top: c_float,
    pub right: c_float,
    pub bottom: c_float,
}

/// `FS_MATRIX`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Matrix {
    a: c_float,
    b: c_float,
    c: c_float,
    d: c_float,
    e: c_float,
    f: c_float,
}

impl Matrix {
    const UNCHANGED: Self = Self {
        a: 1.0,
        b: 0.0,
        c: 0.0,
        d: 1.0,
        e: 0.0,
        f: 0.0,
    };

    fn point(&self, x: f32, y: f32) -> (f32, f32) {
        (
            self.a * x + self.c * y + self.e,
            self.b * x + self.d * y + self.f,
        )
    }

    /// What this and then `outer` make of a point.
    fn then(&self, outer: &Self) -> Self {
        let (e, f) = outer.point(self.e, self.f);
        Self {
            a: self.a * outer.a + self.b * outer.c,
            b: self.a * outer.b + self.b * outer.d,
            c: self.c * outer.a + self.d * outer.c,
            d: self.c * outer.b + self.d * outer.d,
            e,
            f,
        }
    }

    /// The upright box around what becomes of a box.
    fn around(&self, rect: Rect) -> Rect {
        let corners = [
            self.point(rect.left, rect.top),
            self.point(rect.left, rect.bottom),
            self.point(rect.right, rect.top),
            self.point(rect.right, rect.bottom),
        ];
        let of = |side: fn(&(f32, f32)) -> f32, pick: fn(f32, f32) -> f32| {
            corners.iter().map(side).fold(side(&corners[0]), pick)
        };
        Rect {
            left: of(|corner| corner.0, f32::min),
            right: of(|corner| corner.0, f32::max),
            bottom: of(|corner| corner.1, f32::min),
            top: of(|corner| corner.1, f32::max),
        }
    }
}

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        #[allow(non_snake_case, reason = "the names are PDFium's")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
            /// Keeps the functions mapped.
            _library: libloading::Library,
        }

        impl Functions {
            fn load(path: &Path) -> Result<Self, libloading::Error> {
                // SAFETY: the library is PDFium as Docent's catalog names and verifies it; its
                // initialisers have no preconditions.
                let library = unsafe { libloading::Library::new(path)? };
                Ok(Self {
                    $($name: {
                        // SAFETY: the signatures are those of PDFium's public headers, which have
                        // kept them since these functions exist.
                        *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes())? }
                    },)+
                    _library: library,
                })
            }
        }
    };
}

functions! {
    FPDF_InitLibrary: fn();
    FPDF_LoadDocument: fn(*const c_char, *const c_char) -> Handle;
    FPDF_LoadMemDocument64: fn(*const c_void, usize, *const c_char) -> Handle;
    FPDF_GetLastError: fn() -> c_ulong;
    FPDF_CloseDocument: fn(Handle);
    FPDF_GetPageCount: fn(Handle) -> c_int;
    FPDF_GetMetaText: fn(Handle, *const c_char, *mut c_void, c_ulong) -> c_ulong;
    FPDF_LoadPage: fn(Handle, c_int) -> Handle;
    FPDF_ClosePage: fn(Handle);
    FPDF_GetPageWidthF: fn(Handle) -> c_float;
    FPDF_GetPageHeightF: fn(Handle) -> c_float;
    FPDF_GetPageBoundingBox: fn(Handle, *mut Rect) -> c_int;
    FPDFPage_SetMediaBox: fn(Handle, c_float, c_float, c_float, c_float);
    FPDFPage_SetCropBox: fn(Handle, c_float, c_float, c_float, c_float);
    FPDFPage_Flatten: fn(Handle, c_int) -> c_int;
    FPDFPage_GetAnnotCount: fn(Handle) -> c_int;
    FPDFPage_GetAnnot: fn(Handle, c_int) -> Handle;
    FPDFPage_CloseAnnot: fn(Handle);
    FPDFAnnot_GetSubtype: fn(Handle) -> c_int;
    FPDFAnnot_GetFlags: fn(Handle) -> c_int;
    FPDFAnnot_GetRect: fn(Handle, *mut Rect) -> c_int;
    FPDFAnnot_GetValueType: fn(Handle, *const c_char) -> c_int;
    FPDFAnnot_GetStringValue: fn(Handle, *const c_char, *mut c_void, c_ulong) -> c_ulong;
    FPDF_PageToDevice: fn(
        Handle, c_int, c_int, c_int, c_int, c_int, c_double, c_double, *mut c_int, *mut c_int
    ) -> c_int;
    FPDFBitmap_CreateEx: fn(c_int, c_int, c_int, *mut c_void, c_int) -> Handle;
    FPDFBitmap_FillRect: fn(Handle, c_int, c_int, c_int, c_int, c_ulong);
    FPDFBitmap_Destroy: fn(Handle);
    FPDF_RenderPageBitmap: fn(Handle, Handle, c_int, c_int, c_int, c_int, c_int, c_int);
    FPDFPage_CountObjects: fn(Handle) -> c_int;
    FPDFPage_GetObject: fn(Handle, c_int) -> Handle;
    FPDFPage_RemoveObject: fn(Handle, Handle) -> c_int;
    FPDFPageObj_Destroy: fn(Handle);
    FPDFPageObj_GetType: fn(Handle) -> c_int;
    FPDFPageObj_GetMatrix: fn(Handle, *mut Matrix) -> c_int;
    FPDFPageObj_GetBounds: fn(
        Handle, *mut c_float, *mut c_float, *mut c_float, *mut c_float
    ) -> c_int;
    FPDFTextObj_GetTextRenderMode: fn(Handle) -> c_int;
    FPDFPath_CountSegments: fn(Handle) -> c_int;
    FPDFImageObj_GetBitmap: fn(Handle) -> Handle;
    FPDFFormObj_CountObjects: fn(Handle) -> c_int;
    FPDFFormObj_GetObject: fn(Handle, c_ulong) -> Handle;
    FPDFText_LoadPage: fn(Handle) -> Handle;
    FPDFText_ClosePage: fn(Handle);
    FPDFText_CountChars: fn(Handle) -> c_int;
    FPDFText_GetUnicode: fn(Handle, c_int) -> c_uint;
    FPDFText_GetLooseCharBox: fn(Handle, c_int, *mut Rect) -> c_int;
    FPDFText_GetFontSize: fn(Handle, c_int) -> c_double;
    FPDFText_GetMatrix: fn(Handle, c_int, *mut Matrix) -> c_int;
    FPDFText_GetFontInfo: fn(Handle, c_int, *mut c_void, c_ulong, *mut c_int) -> c_ulong;
    FPDFBookmark_GetFirstChild: fn(Handle, Handle) -> Handle;
    FPDFBookmark_GetNextSibling: fn(Handle, Handle) -> Handle;
    FPDFBookmark_GetTitle: fn(Handle, *mut c_void, c_ulong) -> c_ulong;
    FPDFBookmark_GetDest: fn(Handle, Handle) -> Handle;
    FPDFBookmark_GetAction: fn(Handle) -> Handle;
    FPDFAction_GetDest: fn(Handle, Handle) -> Handle;
    FPDFDest_GetDestPageIndex: fn(Handle, Handle) -> c_int;
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
static LOCK: Mutex<()> = Mutex::new(());

/// Exclusive use of PDFium.
pub struct Session {
    functions: &'static Functions,
    _lock: MutexGuard<'static, ()>,
}

/// Why a document did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    Password,
    /// Encrypted in a way that PDFium doesn't know.
    Security,
    Format,
    File,
    Other(c_ulong),
}

impl Session {
    /// Loads the library from `dir` the first time; later the first library stays.
    pub fn start(dir: &Path) -> Result<Self, String> {
        let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let functions = if let Some(functions) = FUNCTIONS.get() {
            functions
        } else {
            let path = dir.join(libloading::library_filename("pdfium"));
            let functions = Functions::load(&path).map_err(|error| error.to_string())?;
            // SAFETY: called once, before anything else, under the lock.
            unsafe { (functions.FPDF_InitLibrary)() };
            FUNCTIONS.get_or_init(|| functions)
        };
        Ok(Self {
            functions,
            _lock: lock,
        })
    }

    pub fn open(&self, path: &Path) -> Result<Document<'_>, OpenError> {
        let path = CString::new(path.to_string_lossy().as_bytes()).map_err(|_| OpenError::File)?;
        // SAFETY: both strings end with NUL; a null password means none.
        let handle = unsafe { (self.functions.FPDF_LoadDocument)(path.as_ptr(), ptr::null()) };
        self.opened(handle)
    }

    /// Opens a document that is in memory, where it stays while it is read.
    pub fn open_bytes<'s>(&'s self, bytes: &'s [u8]) -> Result<Document<'s>, OpenError> {
        // SAFETY: the document borrows the bytes, so they outlive it; a null password means none.
        let handle = unsafe {
            (self.functions.FPDF_LoadMemDocument64)(bytes.as_ptr().cast(), bytes.len(), ptr::null())
        };
        self.opened(handle)
    }

    fn opened(&self, handle: Handle) -> Result<Document<'_>, OpenError> {
        match NonNull::new(handle) {
            Some(handle) => Ok(Document {
                functions: self.functions,
                handle,
                session: PhantomData,
            }),
            // SAFETY: no arguments; the lock keeps others from changing the last error.
            None => Err(match unsafe { (self.functions.FPDF_GetLastError)() } {
                2 => OpenError::File,
                3 => OpenError::Format,
                4 => OpenError::Password,
                5 => OpenError::Security,
                other => OpenError::Other(other),
            }),
        }
    }
}

pub struct Document<'s> {
    functions: &'static Functions,
    handle: NonNull<c_void>,
    session: PhantomData<&'s Session>,
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and pages borrow the document, so none is left.
        unsafe { (self.functions.FPDF_CloseDocument)(self.handle.as_ptr()) }
    }
}

/// An entry of the document's outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    pub title: String,
    /// From 1.
    pub level: u8,
    /// From 0.
    pub page: u32,
}

impl Document<'_> {
    pub fn page_count(&self) -> u32 {
        // SAFETY: the document is open.
        u32::try_from(unsafe { (self.functions.FPDF_GetPageCount)(self.handle.as_ptr()) })
            .unwrap_or(0)
    }

    /// An entry of the information dictionary, such as `Title`.
    pub fn information(&self, tag: &CStr) -> String {
        utf16(|buffer, length| {
            // SAFETY: the buffer has `length` bytes; with none, PDFium only tells the length.
            unsafe {
                (self.functions.FPDF_GetMetaText)(
                    self.handle.as_ptr(),
                    tag.as_ptr(),
                    buffer,
                    length,
                )
            }
        })
    }

    /// `None` for a page that cannot be loaded.
    pub fn page(&self, index: u32) -> Option<Page<'_>> {
        // SAFETY: the document is open; an index out of range gives null.
        let handle = unsafe {
            (self.functions.FPDF_LoadPage)(self.handle.as_ptr(), c_int::try_from(index).ok()?)
        };
        Some(Page {
            functions: self.functions,
            handle: NonNull::new(handle)?,
            document: PhantomData,
        })
    }

    /// The outline in order, at most `max` entries of it. Damaged outlines can form rings.
    pub fn outline(&self, max: usize) -> Vec<Bookmark> {
        const DEEPEST: usize = 16;
        let f = self.functions;
        let document = self.handle.as_ptr();
        let mut found = Vec::new();
        let mut seen = std::collections::HashSet::new();
        // SAFETY: null asks for the first bookmark of the top level.
        let first = unsafe { (f.FPDFBookmark_GetFirstChild)(document, ptr::null_mut()) };
        let mut open = vec![first];
        while let Some(bookmark) = open.pop() {
            if bookmark.is_null() || found.len() >= max || !seen.insert(bookmark as usize) {
                continue;
            }
            let level = open.len() + 1;
            // SAFETY: bookmarks live as long as the document; null results are checked.
            unsafe {
                let mut target = (f.FPDFBookmark_GetDest)(document, bookmark);
                if target.is_null() {
                    let action = (f.FPDFBookmark_GetAction)(bookmark);
                    if !action.is_null() {
                        target = (f.FPDFAction_GetDest)(document, action);
                    }
                }
                if !target.is_null()
                    && let Ok(page) = u32::try_from((f.FPDFDest_GetDestPageIndex)(document, target))
                {
                    let title =
                        utf16(|buffer, length| (f.FPDFBookmark_GetTitle)(bookmark, buffer, length));
                    found.push(Bookmark {
                        title,
                        level: level.min(6) as u8,
                        page,
                    });
                }
                open.push((f.FPDFBookmark_GetNextSibling)(document, bookmark));
                if open.len() < DEEPEST {
                    open.push((f.FPDFBookmark_GetFirstChild)(document, bookmark));
                }
            }
        }
        found
    }
}

pub struct Page<'d> {
    functions: &'static Functions,
    handle: NonNull<c_void>,
    document: PhantomData<&'d ()>,
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and text pages borrow the page, so none is left.
        unsafe { (self.functions.FPDF_ClosePage)(self.handle.as_ptr()) }
    }
}

const TEXT: c_int = 1;
const PATH: c_int = 2;
const IMAGE: c_int = 3;

/// What is on a page beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drawn {
    pub pictures: usize,
    /// The share of the page that they cover; more than 1 where they lie on each other.
    pub covered: f32,
    /// Of lines and curves with as many as letters have.
    pub segments: usize,
    /// Text that is there to be searched and not to be seen, as recognisers lay it over a scan.
    pub hidden_text: bool,
}

/// What a field or an annotation says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// In page space.
    pub rect: Rect,
    pub text: String,
}

/// From page space to the page as it is shown: points, origin at the top left, `y` downwards.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    x: [f32; 3],
    y: [f32; 3],
}

impl Shown {
    pub fn rect(&self, rect: Rect) -> Rect {
        let at = |row: &[f32; 3], x: f32, y: f32| row[0] + row[1] * x + row[2] * y;
        let (x1, x2) = (
            at(&self.x, rect.left, rect.top),
            at(&self.x, rect.right, rect.bottom),
        );
        let (y1, y2) = (
            at(&self.y, rect.left, rect.top),
            at(&self.y, rect.right, rect.bottom),
        );
        Rect {
            left: x1.min(x2),
            top: y1.min(y2),
            right: x1.max(x2),
            bottom: y1.max(y2),
        }
    }

    /// Where a direction of page space points as shown.
    pub fn turn(&self, (x, y): (f32, f32)) -> Turn {
        let right = self.x[1] * x + self.x[2] * y;
        let down = self.y[1] * x + self.y[2] * y;
        match (right.abs() >= down.abs(), right >= 0.0, down >= 0.0) {
            (true, true, _) => Turn::Upright,
            (true, false, _) => Turn::UpsideDown,
            (false, _, true) => Turn::Downwards,
            (false, _, false) => Turn::Upwards,
        }
    }
}

/// The way that a line of text runs on the page as shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Turn {
    #[default]
    Upright,
    /// As after a quarter turn to the right.
    Downwards,
    UpsideDown,
    /// As after a quarter turn to the left.
    Upwards,
}

impl Turn {
    pub const ALL: [Self; 4] = [
        Self::Upright,
        Self::Downwards,
        Self::UpsideDown,
        Self::Upwards,
    ];

    /// Turns a page of the given size so that its text is upright: the place of a rectangle then.
    pub fn upright(self, rect: Rect, (width, height): (f32, f32)) -> Rect {
        let Rect {
            left,
            top,
            right,
            bottom,
        } = rect;
        match self {
            Self::Upright => rect,
            Self::Downwards => Rect {
                left: top,
                top: width - right,
                right: bottom,
                bottom: width - left,
            },
            Self::UpsideDown => Rect {
                left: width - right,
                top: height - bottom,
                right: width - left,
                bottom: height - top,
            },
            Self::Upwards => Rect {
                left: height - bottom,
                top: left,
                right: height - top,
                bottom: right,
            },
        }
    }

    /// The way back: `size` is that of the page as shown.
    pub fn as_shown(self, rect: Rect, (width, height): (f32, f32)) -> Rect {
        match self {
            Self::Upright | Self::UpsideDown => self.upright(rect, (width, height)),
            Self::Downwards => Self::Upwards.upright(rect, (height, width)),
            Self::Upwards => Self::Downwards.upright(rect, (height, width)),
        }
    }
}

impl Page<'_> {
    /// Width and height in points, as shown.
    pub fn size(&self) -> (f32, f32) {
        // SAFETY: the page is open.
        unsafe {
            (
                (self.functions.FPDF_GetPageWidthF)(self.handle.as_ptr()),
                (self.functions.FPDF_GetPageHeightF)(self.handle.as_ptr()),
            )
        }
    }

    /// The mapping that rotation and crop box make.
    pub fn shown(&self) -> Shown {
        // Device coordinates are integers, so the page is mapped to a large device.
        const DEVICE: c_int = 1 << 20;
        const REACH: f64 = 1000.0;
        let (width, height) = self.size();
        let map = |x: f64, y: f64| {
            let (mut device_x, mut device_y) = (0, 0);
            // SAFETY: the page is open and the results are local.
            unsafe {
                (self.functions.FPDF_PageToDevice)(
                    self.handle.as_ptr(),
                    0,
                    0,
                    DEVICE,
                    DEVICE,
                    0,
                    x,
                    y,
                    &raw mut device_x,
                    &raw mut device_y,
                );
            }
            (
                device_x as f32 / DEVICE as f32 * width,
                device_y as f32 / DEVICE as f32 * height,
            )
        };
        let (origin, right, up) = (map(0.0, 0.0), map(REACH, 0.0), map(0.0, REACH));
        let per_point = |to: f32, from: f32| (to - from) / REACH as f32;
        Shown {
            x: [
                origin.0,
                per_point(right.0, origin.0),
                per_point(up.0, origin.0),
            ],
            y: [
                origin.1,
                per_point(right.1, origin.1),
                per_point(up.1, origin.1),
            ],
        }
    }

    /// What is on the page beside its text.
    pub fn drawn(&self) -> Drawn {
        /// Boxes and rules have fewer; of letters, only `l` and `I` have.
        const SEGMENTS_OF_LETTERS: usize = 6;
        let f = self.functions;
        let shown = self.shown();
        let (width, height) = self.size();
        let mut drawn = Drawn::default();
        self.objects(|object, kind, matrix| {
            // SAFETY: the object belongs to the open page and is of the kind that is asked of it; the
            // results are local.
            unsafe {
                match kind {
                    IMAGE => {
                        drawn.pictures += 1;
                        let mut rect = Rect::default();
                        let known = (f.FPDFPageObj_GetBounds)(
                            object,
                            &raw mut rect.left,
                            &raw mut rect.bottom,
                            &raw mut rect.right,
                            &raw mut rect.top,
                        );
                        if known != 0 {
                            let rect = shown.rect(matrix.around(rect));
                            let across = rect.right.min(width) - rect.left.max(0.0);
                            let down = rect.bottom.min(height) - rect.top.max(0.0);
                            let area = across.max(0.0) * down.max(0.0);
                            drawn.covered += area / (width * height).max(1.0);
                        }
                    }
                    PATH => {
                        let segments = (f.FPDFPath_CountSegments)(object).max(0) as usize;
                        if segments > SEGMENTS_OF_LETTERS {
                            drawn.segments = drawn.segments.saturating_add(segments);
                        }
                    }
                    TEXT => {
                        const INVISIBLE: c_int = 3;
                        drawn.hidden_text |= (f.FPDFTextObj_GetTextRenderMode)(object) == INVISIBLE;
                    }
                    _ => {}
                }
            }
            true
        });
        drawn
    }

    /// Whether a picture on the page cannot be drawn.
    pub fn has_damaged_image(&self) -> bool {
        const LOOK_AT: usize = 16;
        let f = self.functions;
        let (mut seen, mut damaged) = (0, false);
        self.objects(|object, kind, _| {
            if kind == IMAGE {
                seen += 1;
                // SAFETY: the object is an image of the open page; the bitmap is the caller's.
                unsafe {
                    let bitmap = (f.FPDFImageObj_GetBitmap)(object);
                    if bitmap.is_null() {
                        damaged = true;
                    } else {
                        (f.FPDFBitmap_Destroy)(bitmap);
                    }
                }
            }
            !damaged && seen < LOOK_AT
        });
        damaged
    }

    /// Shows the page's objects, with their kinds and what maps them to page space, until `see` says
    /// that it has seen enough. Those in forms are shown too: some scanners wrap forms around their
    /// pictures.
    fn objects(&self, mut see: impl FnMut(Handle, c_int, &Matrix) -> bool) {
        /// A drawing may have as many; a scan behind them would be missed.
        const LOOK_AT: usize = 100_000;
        const DEEPEST: usize = 4;
        const FORM: c_int = 5;
        struct Level {
            form: Handle,
            matrix: Matrix,
            objects: std::ops::Range<c_int>,
        }
        let f = self.functions;
        let page = self.handle.as_ptr();
        // SAFETY: the page is open.
        let count = unsafe { (f.FPDFPage_CountObjects)(page) };
        let mut levels = vec![Level {
            form: ptr::null_mut(),
            matrix: Matrix::UNCHANGED,
            objects: 0..count,
        }];
        let mut left = LOOK_AT;
        while let Some(level) = levels.last_mut() {
            let Some(index) = level.objects.next() else {
                levels.pop();
                continue;
            };
            if left == 0 {
                return;
            }
            left -= 1;
            // SAFETY: the page is open and its objects live as long as it; the index is below the
            // count; null objects are left out; the matrix is local.
            let (object, kind) = unsafe {
                let object = if level.form.is_null() {
                    (f.FPDFPage_GetObject)(page, index)
                } else {
                    (f.FPDFFormObj_GetObject)(level.form, index as c_ulong)
                };
                if object.is_null() {
                    continue;
                }
                (object, (f.FPDFPageObj_GetType)(object))
            };
            if kind != FORM {
                if !see(object, kind, &level.matrix) {
                    return;
                }
                continue;
            }
            let outer = level.matrix;
            if levels.len() < DEEPEST {
                let mut matrix = Matrix::UNCHANGED;
                // SAFETY: the object is a form of the open page; the matrix is local.
                let count = unsafe {
                    (f.FPDFPageObj_GetMatrix)(object, &raw mut matrix);
                    (f.FPDFFormObj_CountObjects)(object)
                };
                levels.push(Level {
                    form: object,
                    matrix: matrix.then(&outer),
                    objects: 0..count,
                });
            }
        }
    }

    /// What annotations add to the page's text: the fields of a form, and what was typed or stamped
    /// onto the page. `None` when there is nothing of the kind; links and remarks are not.
    pub fn entries(&self) -> Option<Vec<Entry>> {
        /// No form has as many fields on a page.
        const LOOK_AT: c_int = 5_000;
        const TYPED: c_int = 3;
        const STAMP: c_int = 13;
        const FIELD: c_int = 20;
        /// Invisible, hidden, or not for the screen.
        const UNSEEN: c_int = 1 | 1 << 1 | 1 << 5;
        const STRING: c_int = 3;
        let f = self.functions;
        let mut entries = None;
        // SAFETY: the page is open; annotations are closed as soon as they are read, and null ones
        // are left out; keys end with NUL; results are local.
        unsafe {
            let count = (f.FPDFPage_GetAnnotCount)(self.handle.as_ptr()).min(LOOK_AT);
            for index in 0..count {
                let annotation = (f.FPDFPage_GetAnnot)(self.handle.as_ptr(), index);
                if annotation.is_null() {
                    continue;
                }
                let kind = (f.FPDFAnnot_GetSubtype)(annotation);
                if matches!(kind, TYPED | STAMP | FIELD)
                    && (f.FPDFAnnot_GetFlags)(annotation) & UNSEEN == 0
                {
                    let entries = entries.get_or_insert_with(Vec::new);
                    let key = if kind == FIELD { c"V" } else { c"Contents" };
                    let mut rect = Rect::default();
                    if kind != STAMP
                        && (f.FPDFAnnot_GetRect)(annotation, &raw mut rect) != 0
                        && (f.FPDFAnnot_GetValueType)(annotation, key.as_ptr()) == STRING
                    {
                        let text = utf16(|buffer, length| {
                            (f.FPDFAnnot_GetStringValue)(annotation, key.as_ptr(), buffer, length)
                        });
                        entries.push(Entry { rect, text });
                    }
                }
                (f.FPDFPage_CloseAnnot)(annotation);
            }
        }
        entries
    }

    /// Makes annotations a part of what is drawn when the page is loaded the next time. Returns whether
    /// there are any to be seen.
    pub fn flatten(&self) -> bool {
        const AS_ON_SCREEN: c_int = 0;
        const SUCCESS: c_int = 1;
        let f = self.functions;
        let page = self.handle.as_ptr();
        // SAFETY: the page is open; the box is local.
        unsafe {
            // PDFium takes a size that the page inherits for none, and gives it another.
            let mut rect = Rect::default();
            if (f.FPDF_GetPageBoundingBox)(page, &raw mut rect) == 0 {
                return false;
            }
            for set in [f.FPDFPage_SetMediaBox, f.FPDFPage_SetCropBox] {
                set(page, rect.left, rect.bottom, rect.right, rect.top);
            }
            (f.FPDFPage_Flatten)(page, AS_ON_SCREEN) == SUCCESS
        }
    }

    /// Takes everything off this flattened page but the annotations.
    pub fn keep_annotations(&self) {
        let f = self.functions;
        let page = self.handle.as_ptr();
        // SAFETY: the page is open and no text of it is; what was taken off it is the caller's.
        unsafe {
            // Flattening draws them last, as one object.
            for _ in 1..(f.FPDFPage_CountObjects)(page) {
                let object = (f.FPDFPage_GetObject)(page, 0);
                if object.is_null() || (f.FPDFPage_RemoveObject)(page, object) == 0 {
                    return;
                }
                (f.FPDFPageObj_Destroy)(object);
            }
        }
    }

    /// The page as it is shown, in grey on white, a byte a pixel. `None` when there is no room for it.
    pub fn render(&self, width: u32, height: u32) -> Option<Vec<u8>> {
        const GREY: c_int = 1;
        const WHITE: c_ulong = 0xffff_ffff;
        const ANNOTATIONS: c_int = 0x01;
        const IN_GREY: c_int = 0x08;
        let f = self.functions;
        let (columns, rows) = (c_int::try_from(width).ok()?, c_int::try_from(height).ok()?);
        let mut pixels = vec![0_u8; width as usize * height as usize];
        // SAFETY: the buffer has the rows that the bitmap is told of and outlives it; the page is
        // open.
        unsafe {
            let bitmap =
                (f.FPDFBitmap_CreateEx)(columns, rows, GREY, pixels.as_mut_ptr().cast(), columns);
            if bitmap.is_null() {
                return None;
            }
            (f.FPDFBitmap_FillRect)(bitmap, 0, 0, columns, rows, WHITE);
            (f.FPDF_RenderPageBitmap)(
                bitmap,
                self.handle.as_ptr(),
                0,
                0,
                columns,
                rows,
                0,
                ANNOTATIONS | IN_GREY,
            );
            (f.FPDFBitmap_Destroy)(bitmap);
        }
        Some(pixels)
    }

    pub fn text(&self) -> Option<TextPage<'_>> {
        // SAFETY: the page is open.
        let handle = unsafe { (self.functions.FPDFText_LoadPage)(self.handle.as_ptr()) };
        let handle = NonNull::new(handle)?;
        // SAFETY: the text page was opened above.
        let count = unsafe { (self.functions.FPDFText_CountChars)(handle.as_ptr()) }.max(0);
        Some(TextPage {
            functions: self.functions,
            handle,
            count,
            page: PhantomData,
        })
    }
}

/// The characters of a page, in the order that PDFium reads them.
pub struct TextPage<'p> {
    functions: &'static Functions,
    handle: NonNull<c_void>,
    count: c_int,
    page: PhantomData<&'p ()>,
}

impl Drop for TextPage<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open.
        unsafe { (self.functions.FPDFText_ClosePage)(self.handle.as_ptr()) }
    }
}

/// How a character is set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Style {
    /// In points, as shown.
    pub size: f32,
    pub bold: bool,
    pub monospaced: bool,
}

impl TextPage<'_> {
    pub fn len(&self) -> c_int {
        self.count
    }

    /// The code point at an index, 0 where the font doesn't tell.
    pub fn code(&self, index: c_int) -> u32 {
        // SAFETY: the text page is open; PDFium checks the index.
        unsafe { (self.functions.FPDFText_GetUnicode)(self.handle.as_ptr(), index) }
    }

    /// The box of a character in page space, as high as its font.
    pub fn rect(&self, index: c_int) -> Option<Rect> {
        let mut rect = Rect::default();
        // SAFETY: as above; the result is local.
        let known = unsafe {
            (self.functions.FPDFText_GetLooseCharBox)(self.handle.as_ptr(), index, &raw mut rect)
        };
        let finite = [rect.left, rect.top, rect.right, rect.bottom]
            .iter()
            .all(|side| side.is_finite());
        (known != 0 && finite).then_some(rect)
    }

    /// The direction of the line that a character stands on, in page space.
    pub fn direction(&self, index: c_int) -> (f32, f32) {
        let mut matrix = Matrix::default();
        // SAFETY: as above.
        let known = unsafe {
            (self.functions.FPDFText_GetMatrix)(self.handle.as_ptr(), index, &raw mut matrix)
        };
        if known == 0 || (matrix.a == 0.0 && matrix.b == 0.0) {
            (1.0, 0.0)
        } else {
            (matrix.a, matrix.b)
        }
    }

    pub fn style(&self, index: c_int) -> Style {
        const NAME_BYTES: usize = 128;
        const FIXED_PITCH: c_int = 1;
        const FORCE_BOLD: c_int = 1 << 18;
        let f = self.functions;
        let text = self.handle.as_ptr();
        let mut name = [0_u8; NAME_BYTES];
        let mut flags = 0;
        let mut matrix = Matrix::default();
        // SAFETY: as above; the buffer has the length that is passed, and PDFium writes nothing
        // when the name is longer.
        let (size, length, scaled) = unsafe {
            (
                (f.FPDFText_GetFontSize)(text, index) as f32,
                (f.FPDFText_GetFontInfo)(
                    text,
                    index,
                    name.as_mut_ptr().cast(),
                    NAME_BYTES as c_ulong,
                    &raw mut flags,
                ) as usize,
                (f.FPDFText_GetMatrix)(text, index, &raw mut matrix) != 0,
            )
        };
        // The size is the font's; what is seen is stretched by the text matrix.
        let scale = if scaled {
            matrix.c.hypot(matrix.d)
        } else {
            1.0
        };
        let name = &mut name[..length.min(NAME_BYTES).saturating_sub(1)];
        name.make_ascii_lowercase();
        let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
        Style {
            size: size * scale,
            bold: flags & FORCE_BOLD != 0
                || has(b"bold")
                || has(b"black")
                || has(b"heavy")
                || has(b"cmbx")
                || has(b"sfbx")
                || has(b"-demi"),
            monospaced: flags & FIXED_PITCH != 0
                || has(b"mono")
                || has(b"courier")
                || has(b"consola")
                || has(b"typewriter")
                || is_tex_typewriter(name),
        }
    }
}

/// TeX's typewriter fonts have short names that end in `tt`: CMTT10, SFTT1000, t1xtt, ec-lmtt.
fn is_tex_typewriter(name: &[u8]) -> bool {
    const LONGEST: usize = 6;
    let name = name.rsplit(|byte| *byte == b'+').next().unwrap_or(name);
    let name = name.split(|byte| *byte == b'-').next().unwrap_or(name);
    let letters = name
        .iter()
        .rposition(|byte| !byte.is_ascii_digit())
        .map_or(0, |last| last + 1);
    letters <= LONGEST && name[..letters].ends_with(b"tt")
}

/// Reads a string from a function that fills a buffer with UTF-16 and returns its length in bytes.
fn utf16(fill: impl Fn(*mut c_void, c_ulong) -> c_ulong) -> String {
    const LONGEST: usize = 64 * 1024;
    let bytes = (fill(ptr::null_mut(), 0) as usize).min(LONGEST);
    let mut units = vec![0_u16; bytes / 2];
    if units.is_empty() {
        return String::new();
    }
    fill(units.as_mut_ptr().cast(), (units.len() * 2) as c_ulong);
    let end = units
        .iter()
        .position(|unit| *unit == 0)
        .unwrap_or(units.len());
    String::from_utf16_lossy(&units[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_there_and_back() {
        let rect = Rect {
            left: 10.0,
            top: 20.0,
            right: 60.0,
            bottom: 30.0,
        };
        for turn in Turn::ALL {
            let there = turn.upright(rect, (200.0, 100.0));
            let back = turn.as_shown(there, (200.0, 100.0));
            let same = (back.left, back.top, back.right, back.bottom) == (10.0, 20.0, 60.0, 30.0);
            assert!(same, "{turn:?}: {back:?}");
        }
        let down = Turn::Downwards.upright(rect, (200.0, 100.0));
        assert_eq!(
            (down.left, down.top),
            (20.0, 140.0),
            "what stands at the right is the top"
        );
    }
}
