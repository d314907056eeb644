// Where SQLite enters: the functions by which `sqlite3_load_extension` finds this library, and the SQL functions that they
// define on the connection that loads it (sqlite.org/loadext.html).
//
// Must never call a SQLite that is linked, only the one that loads: two copies in one process do not know of each
// other's locks. Must never let an error out but as an SQL error of the statement that asked.

public import CSQLiteExtension

/// SQLite looks for this name in a file called libportcullis_fence.
@_cdecl("sqlite3_portcullisfence_init")
public func initializeByFileName(
  _ database: OpaquePointer?, _ message: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?,
  _ api: UnsafePointer<sqlite3_api_routines>?
) -> Int32 {
  define(on: database, api)
}

/// And for this one in a file of any other name.
@_cdecl("sqlite3_extension_init")
public func initialize(
  _ database: OpaquePointer?, _ message: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?,
  _ api: UnsafePointer<sqlite3_api_routines>?
) -> Int32 {
  define(on: database, api)
}

private typealias Function =
  @convention(c) (OpaquePointer?, Int32, UnsafeMutablePointer<OpaquePointer?>?) -> Void

private func define(on database: OpaquePointer?, _ api: UnsafePointer<sqlite3_api_routines>?) -> Int32 {
  guard let database, let api, HostAPI.adopt(api) else { return SQLITE_ERROR }
  let host = Host(api: api, database: database)
  let presented = PresentedTokens()
  // Only a statement of the program itself presents a token: no view or trigger of somebody's does it for it.
  let functions: [(name: String, count: Int32, flags: Int32, body: Function)] = [
    ("portcullis_present", 1, SQLITE_DIRECTONLY, { context, _, values in answer(context, values, present) }),
    ("portcullis_kid", 1, SQLITE_INNOCUOUS, { context, _, values in answer(context, values, kid) }),
    ("portcullis_guard", 6, SQLITE_INNOCUOUS, { context, _, values in answer(context, values, check) }),
    ("portcullis_guard_own", 1, SQLITE_INNOCUOUS, { context, _, values in answer(context, values, checkOwn) }),
  ]
  for function in functions {
    let call = Call(host: host, presented: presented)
    guard let create = api.pointee.create_function_v2 else { return SQLITE_ERROR }
    let code = create(
      database, function.name, function.count, SQLITE_UTF8 | function.flags, Unmanaged.passRetained(call).toOpaque(),
      function.body, nil, nil,
      { context in
        guard let context else { return }
        Unmanaged<Call>.fromOpaque(context).release()
      })
    // SQLite has released the call where it failed.
    guard code == SQLITE_OK else { return code }
  }
  // The Swift runtime remembers what it has seen of this library, so it must never be unmapped.
  return portcullis_ok_load_permanently
}

/// What a function finds when it is called: the connection, and the tokens that were presented on it.
final class Call {
  let host: Host
  let presented: PresentedTokens

  init(host: Host, presented: PresentedTokens) {
    self.host = host
    self.presented = presented
  }
}

private func answer(
  _ context: OpaquePointer?, _ values: UnsafeMutablePointer<OpaquePointer?>?,
  _ body: (Call, Arguments) throws(FenceError) -> HostValue
) {
  guard let context, let values, let data = HostAPI.userData(of: context) else { return }
  let call = Unmanaged<Call>.fromOpaque(data).takeUnretainedValue()
  let arguments = Arguments(host: call.host, values: values)
  do throws(FenceError) {
    call.host.result(try body(call, arguments), of: context)
  } catch {
    call.host.fail("portcullis: \(error)", in: context)
  }
}
