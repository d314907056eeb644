// Waiting in line under a prefix: what locks and elections have in common. Each caller has a key there that ends with its
// lease, and whoever's key has the lowest create revision has its turn. Clients that bring the recipe themselves (etcdctl
// lock and elect, the Go concurrency package) stand in the same line.
//
// A turn is decided from one snapshot: that this caller's key is still there, and that no older one is. etcd decides on
// the second alone, and so gives turns to callers whose lease ended while they waited (etcd#19597).

import CoordinationCore
import NIOCore
import Protocol
import Wire

/// The line of one name.
struct Line: Sendable {
  let prefix: Bytes

  init(name: some Sequence<UInt8>) {
    prefix = Bytes(name) + [UInt8(ascii: "/")]
  }

  var range: KeyRange { KeyRange(prefix: prefix) }

  func key(of lease: LeaseID) -> Key { Key(prefix + Bytes(String(lease, radix: 16).utf8)) }

  /// The lease that a key of some line carries in its name; nil for a key that no line has.
  static func lease(in key: Key) -> LeaseID? {
    guard let slash = key.bytes.lastIndex(of: UInt8(ascii: "/")) else { return nil }
    let text = String(decoding: key.bytes[(slash + 1)...], as: UTF8.self)
    // Other spellings of the number are not what a line makes.
    guard let lease = LeaseID(text, radix: 16), lease != 0, String(lease, radix: 16) == text else { return nil }
    return lease
  }

  /// Whose turn it is.
  func first(in snapshot: Snapshot) -> KeyVersion? {
    var query = RangeQuery(range: range)
    query.target = .createRevision
    query.limit = 1
    return (try? snapshot.state.store.range(query))?.versions.first
  }

  /// Whether anybody stands before the one who came with `revision`. Every waiting caller asks after every change, so this
  /// ends with the first that is found.
  func hasAny(before revision: Revision, in snapshot: Snapshot) -> Bool {
    var query = RangeQuery(range: range)
    query.maxCreateRevision = revision - 1
    query.limit = 1
    return (try? snapshot.state.store.range(query))?.versions.isEmpty == false
  }
}

extension RPCMethod {
  /// A method of a service that is a client of its own node in etcd: what it is refused, it hands on in the same words and
  /// without the code. That nobody could be asked stays what it is, for it may be asked again.
  static func recipe(_ handler: @escaping @Sendable (UnaryCall, ByteBuffer) -> Void) -> RPCMethod {
    .unary { call, body in
      call.translateFailure = { status in
        switch status.code {
        case .unavailable, .internalError, .cancelled, .deadlineExceeded, .unknown: return status
        default:
          var status = status
          status.code = .unknown
          return status
        }
      }
      handler(call, body)
    }
  }
}

extension UnaryCall {
  /// Whether the caller may stand in a line, which it needs to see for that; fails the call otherwise. Its own place in it
  /// is judged when it is taken.
  func maySee(_ line: Line, in core: CoreAccess) -> Bool {
    guard core.publication.isAuthEnabled else { return true }
    do throws(RequestError) {
      try core.checkRead(line.range, by: self, in: core.publication.snapshot)
      return true
    } catch {
      fail(RPCStatus(error))
      return false
    }
  }

  /// Calls `body` with the lease that the caller named, or with a new one of 60 s, as etcd makes where none is named.
  func withLease(_ lease: LeaseID, of core: CoreAccess, _ body: @escaping @Sendable (LeaseID) -> Void) {
    guard lease == 0 else { return body(lease) }
    let name: ClientSequence?
    let caller: Caller?
    do throws(RPCStatus) {
      name = try requestName()
      caller = try core.caller(of: self)
    } catch {
      return fail(error)
    }
    let id = LeaseService.newID(for: name)
    core.submit(.leaseGrant(id, ttlMilliseconds: 60_000), by: caller, on: eventLoop) { [self] answer in
      // A request that is sent again finds the lease of its first time.
      if name != nil, case .applied(.failed(.leaseExists), _, _) = answer { return body(id) }
      self.answer(answer) { _, _ in body(id) }
    }
  }
}

/// A caller that waits for its turn: it looks again whenever a key of its line changes. `@unchecked Sendable`: all but
/// `mark` runs on the call's event loop.
final class TurnWait: @unchecked Sendable, WatchObserver {
  private let call: UnaryCall
  private let core: CoreAccess
  private let line: Line
  private let mine: KeyVersion
  private let madePlace: Bool
  private let lost: RPCStatus
  private let granted: (KeyVersion, Snapshot) -> Void
  private var watcher: WatcherID?

  /// - Parameters:
  ///   - madePlace: whether the place in the line came with this call, and not with an earlier one of the same lease.
  ///   - lost: what the caller is told when its key went before its turn came.
  ///   - granted: called once, on the call's event loop, with the caller's key as it is then.
  init(
    _ call: UnaryCall, core: CoreAccess, line: Line, mine: KeyVersion, madePlace: Bool, lost: RPCStatus,
    granted: @escaping (KeyVersion, Snapshot) -> Void
  ) {
    self.call = call
    self.core = core
    self.line = line
    self.mine = mine
    self.madePlace = madePlace
    self.lost = lost
    self.granted = granted
  }

  func start() {
    // A caller that went away while its place was made does not go away a second time.
    if call.isCancelled { return giveUp() }
    call.onCancel = { [self] in giveUp() }
    watcher = core.watches.add(0, of: self, range: line.range).id
    look()
  }

  func mark(_ marks: [(watch: Int64, revision: Revision)]) {
    call.eventLoop.execute { [self] in look() }
  }

  private func look() {
    guard watcher != nil else { return }
    let snapshot = core.publication.snapshot
    guard let current = snapshot.state.store.current(mine.key), current.createRevision == mine.createRevision else {
      stop()
      return call.fail(lost)
    }
    if line.hasAny(before: mine.createRevision, in: snapshot) { return }
    stop()
    granted(current, snapshot)
  }

  /// The caller went away: its place in the line goes with it, which is the node's to see to, whatever the caller may do. But
  /// a turn that an earlier call of the same lease may have been told of is not this call's to end.
  private func giveUp() {
    stop()
    guard madePlace || line.hasAny(before: mine.createRevision, in: core.publication.snapshot) else { return }
    core.propose(.transaction(.deleting(mine.key, createdAt: mine.createRevision)))
  }

  private func stop() {
    if let watcher { core.watches.remove(watcher) }
    watcher = nil
  }
}

extension TransactionRequest {
  /// Deletes a key unless it has gone and come back since.
  static func deleting(_ key: Key, createdAt revision: Revision) -> TransactionRequest {
    let range = KeyRange(start: key, end: .single)
    var request = TransactionRequest()
    request.compares = [Compare(range: range, target: .createRevision(revision), relation: .equal)]
    request.success = [.delete(DeleteRequest(range: range, wantsPrevious: false))]
    return request
  }
}
