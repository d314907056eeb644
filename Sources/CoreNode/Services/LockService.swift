// etcd's Lock service. A lock is owned by the key under `name/` with the lowest create revision, so clients that lock
// through it and clients that bring the recipe themselves (etcdctl lock, the Go concurrency package) share one queue.
//
// Ownership is decided from one snapshot: that this caller's key is still there, and that no older one is. etcd decides
// on the second alone, and so hands locks to callers whose lease ended while they waited.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

struct LockService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [RPCPath.Lock.lock: .unary(lock), RPCPath.Lock.unlock: .unary(unlock)]
  }

  @Sendable private func lock(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3lockpb_LockRequest.self, from: body) else { return }
    let prefix = Bytes(message.name) + [UInt8(ascii: "/")]
    // etcd creates a lease of 60 s where none is given.
    guard message.lease == 0 else { return enqueue(call, prefix: prefix, message: message) }
    let name: ClientSequence?
    do throws(RPCStatus) { name = try call.requestName() } catch { return call.fail(error) }
    let id = LeaseService.newID(for: name)
    core.submit(.leaseGrant(id, ttlMilliseconds: 60_000), on: call.eventLoop) { answer in
      var message = message
      message.lease = id
      // A request that is sent again finds the lease of its first time.
      if name != nil, case .applied(.failed(.leaseExists), _) = answer {
        return enqueue(call, prefix: prefix, message: message)
      }
      call.answer(answer) { [message] _, _ in enqueue(call, prefix: prefix, message: message) }
    }
  }

  private func enqueue(_ call: UnaryCall, prefix: Bytes, message: V3lockpb_LockRequest) {
    let key = Key(prefix + Bytes(String(message.lease, radix: 16).utf8))
    var put = PutRequest(key: key, value: [])
    put.lease = message.lease
    var request = TransactionRequest()
    request.compares = [
      Compare(range: KeyRange(start: key, end: .single), target: .createRevision(0), relation: .equal)
    ]
    request.success = [.put(put)]
    call.submit(.transaction(request), to: core) { [core] _, snapshot in
      guard let mine = snapshot.state.store.current(key) else { return call.fail(Self.sessionExpired) }
      LockWait(call, core: core, name: message.name, prefix: prefix, mine: mine).start()
    }
  }

  static let sessionExpired = RPCStatus(code: .unknown, message: "mutex: session is expired")

  /// etcd deletes whatever key it is given. Here the key of an ended lock is simply no longer there: keys carry their
  /// lease in their name, so a late unlock cannot name a newer holder's key.
  @Sendable private func unlock(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(V3lockpb_UnlockRequest.self, from: body) else { return }
    if message.key.isEmpty { return call.fail(RPCStatus(RequestError.keyNotProvided)) }
    let range = KeyRange(start: Key(Bytes(message.key)), end: .single)
    call.submit(.delete(DeleteRequest(range: range, wantsPrevious: false)), to: core) { [core] _, snapshot in
      var response = V3lockpb_UnlockResponse()
      response.header = core.header(snapshot)
      call.respond(response)
    }
  }
}

/// A caller that waits for its turn: it looks again whenever a key of the lock changes. `@unchecked Sendable`: all but
/// `mark` runs on the call's event loop.
private final class LockWait: @unchecked Sendable, WatchObserver {
  private let call: UnaryCall
  private let core: CoreAccess
  private let name: Data
  private let prefix: Bytes
  private let mine: KeyVersion
  private var watcher: WatcherID?

  init(_ call: UnaryCall, core: CoreAccess, name: Data, prefix: Bytes, mine: KeyVersion) {
    self.call = call
    self.core = core
    self.name = name
    self.prefix = prefix
    self.mine = mine
  }

  func start() {
    call.onCancel = { [self] in giveUp() }
    watcher = core.watches.add(0, of: self, range: KeyRange(prefix: prefix)).id
    look()
  }

  func mark(_ marks: [(watch: Int64, revision: Revision)]) {
    call.eventLoop.execute { [self] in look() }
  }

  private func look() {
    guard watcher != nil else { return }
    let snapshot = core.publication.snapshot
    let store = snapshot.state.store
    guard let current = store.current(mine.key), current.createRevision == mine.createRevision else {
      stop()
      return call.fail(LockService.sessionExpired)
    }
    var query = RangeQuery(range: KeyRange(prefix: prefix))
    query.maxCreateRevision = mine.createRevision - 1
    query.limit = 1
    guard let older = try? store.range(query), older.versions.isEmpty else { return }
    stop()
    answer(snapshot)
  }

  private func answer(_ snapshot: Snapshot) {
    var response = V3lockpb_LockResponse()
    response.header = core.header(snapshot)
    response.key = Data(mine.key.bytes)
    response.number = mine.createRevision
    let scope = "lock:" + String(decoding: name, as: UTF8.self)
    let holder = String(mine.lease, radix: 16)
    // A name that fits no token is still a lock; its number is in the answer.
    if let token = try? core.issuer.token(scope: scope, number: mine.createRevision, holder: holder) {
      response.token = token
    }
    call.respond(response)
  }

  /// The caller went away: its place in the queue goes with it.
  private func giveUp() {
    stop()
    let range = KeyRange(start: mine.key, end: .single)
    var request = TransactionRequest()
    request.compares = [Compare(range: range, target: .createRevision(mine.createRevision), relation: .equal)]
    request.success = [.delete(DeleteRequest(range: range, wantsPrevious: false))]
    core.submit(.transaction(request), on: call.eventLoop) { _ in }
  }

  private func stop() {
    if let watcher { core.watches.remove(watcher) }
    watcher = nil
  }
}
