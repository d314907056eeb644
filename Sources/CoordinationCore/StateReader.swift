// Owns the way from a snapshot's bytes back to a state.
//
// Must never: trap on any bytes, allocate by what they announce, or accept what no `StateWriter` gives. Whatever is
// accepted is written again as the very bytes that were read, so damage is found or changes the digest; sums over the
// bytes are the business of whoever keeps them.

package struct StateReader: Sendable {
  private enum Section { case header, base, log, leases, scopes, nodes, clients, alarms, auth, gateways, done }

  private var section = Section.header
  /// The beginning of a record whose end has not come yet.
  private var rest: Bytes = []
  private var position: UInt64 = 0
  private var failure: StateError?
  private var parts = StateAssembly()

  package init() {}

  /// Takes the next piece, of any size. After an error every further call throws it again.
  package mutating func read(_ bytes: [UInt8]) throws(StateError) {
    if let failure { throw failure }
    do throws(StateError) {
      if rest.isEmpty {
        rest = try read(whole: bytes)
      } else {
        let whole = rest + bytes
        rest = try read(whole: whole)
      }
    } catch {
      failure = error
      rest = []
      throw error
    }
  }

  /// The state, when its last piece has been read.
  package consuming func finish() throws(StateError) -> Coordination {
    if let failure { throw failure }
    guard section == .done else { throw .cutShort }
    return try parts.assemble(at: position)
  }

  /// Reads as many records as are there whole and returns what is left.
  private mutating func read(whole: Bytes) throws(StateError) -> Bytes {
    let result = whole.withUnsafeBytes { raw -> Result<Int, StateError> in
      do throws(StateError) { return .success(try read(raw)) } catch { return .failure(error) }
    }
    let used = try result.get()
    position += UInt64(used)
    if used == whole.count { return [] }
    return used == 0 ? whole : Array(whole[used...])
  }

  private mutating func read(_ raw: UnsafeRawBufferPointer) throws(StateError) -> Int {
    var used = 0
    while used < raw.count {
      var input = StrictReader(raw, from: used, base: position)
      do throws(StateError) {
        try readRecord(&input)
      } catch {
        guard error == .cutShort else { throw error }
        return used
      }
      used = input.offset
    }
    return used
  }

  /// Reads one record, or changes nothing and throws `cutShort`: what is read goes into `parts` only when it is whole.
  private mutating func readRecord(_ input: inout StrictReader) throws(StateError) {
    if section == .header {
      try parts.readHeader(&input)
      section = .base
      return
    }
    guard section != .done else { throw input.malformed("bytes after the end of the state") }
    let tag = try input.byte()
    guard tag != StateFormat.end else { return try endSection(input) }
    switch (section, tag) {
    case (.base, StateFormat.record): try parts.readBase(&input)
    case (.log, StateFormat.record): try parts.readRevision(&input)
    case (.log, StateFormat.part): try parts.readPut(&input)
    case (.log, StateFormat.deletion): try parts.readDeletion(&input)
    case (.leases, StateFormat.record): try parts.readLease(&input)
    case (.scopes, StateFormat.record): try parts.readScope(&input)
    case (.scopes, StateFormat.part): try parts.readWaiter(&input)
    case (.scopes, StateFormat.deletion) where parts.hasSessions: try parts.readSharer(&input)
    case (.scopes, StateFormat.asked) where parts.hasSessions: try parts.readAsked(&input)
    case (.nodes, StateFormat.record): try parts.readNode(&input)
    case (.nodes, StateFormat.part) where parts.hasSessions: try parts.readLastNumber(&input)
    case (.clients, StateFormat.record): try parts.readClient(&input)
    case (.clients, StateFormat.part): try parts.readRemembered(&input)
    case (.alarms, StateFormat.record): try parts.readAlarm(&input)
    case (.auth, _): try parts.readAuth(tag, &input)
    case (.gateways, _): try parts.readGateway(tag, &input)
    default: throw input.malformed("unknown tag \(tag)")
    }
  }

  private mutating func endSection(_ input: StrictReader) throws(StateError) {
    switch section {
    case .header, .done: preconditionFailure("a header has no tag, and nothing follows the end")
    case .base: section = .log
    case .log:
      try parts.endLog(input)
      section = .leases
    case .leases: section = .scopes
    case .scopes:
      parts.endScope()
      section = .nodes
    case .nodes: section = .clients
    case .clients:
      parts.endClient()
      section = parts.hasAlarms ? .alarms : .done
    case .alarms:
      try parts.endAlarms(input)
      section = parts.hasAuth ? .auth : .done
    case .auth:
      try parts.endAuth(input)
      section = parts.hasSessions ? .gateways : .done
    case .gateways: section = .done
    }
  }
}
