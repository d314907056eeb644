// etcd's Lease service. Renewals go through the log like everything else that a lease's life depends on, so a keepalive
// that was answered counts on every node, whoever leads next.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

struct LeaseService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Lease.leaseGrant: .unary(grant),
      RPCPath.Lease.leaseRevoke: .unary(revoke),
      RPCPath.Lease.leaseTimeToLive: .unary(timeToLive),
      RPCPath.Lease.leaseLeases: .unary(list),
      RPCPath.Lease.leaseKeepAlive: .streaming { [core] call in
        KeepAliveStream(call, core: core, lease: Self.leaseToRenew) { Self.answer($0, call, core, $1) }
      },
    ]
  }

  /// A lease id of the server's choosing: positive, as etcd's are. A request with a name gets the same one each time that
  /// it is sent, or it would not be the same request.
  static func newID(for name: ClientSequence? = nil) -> LeaseID {
    guard let name else { return LeaseID.random(in: 1...LeaseID.max) }
    return max(1, LeaseID(Digest.of(["lease", "\(name.client)", "\(name.sequence)"]) >> 1))
  }

  @Sendable private func grant(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_LeaseGrantRequest.self, from: body) else { return }
    let ttlMilliseconds: Int64
    let name: ClientSequence?
    do throws(RPCStatus) {
      ttlMilliseconds = try timeToLive(of: message)
      name = try call.requestName()
    } catch {
      return call.fail(error)
    }
    let id = message.id == 0 ? Self.newID(for: name) : message.id
    call.submit(.leaseGrant(id, ttlMilliseconds: ttlMilliseconds), to: core) { [core] outcome, snapshot, revision in
      // Under a name that was used before, the answer is that of the first time, and so is the id that was drawn then.
      guard case .leaseGranted(let granted, let ttlMilliseconds) = outcome else {
        preconditionFailure("a grant of a lease ends with a lease")
      }
      var response = Etcdserverpb_LeaseGrantResponse()
      response.header = core.header(revision: revision, term: snapshot.term)
      response.id = granted
      (response.ttl, response.ttlMs) = Self.told(ttlMilliseconds)
      call.respond(response)
    }
  }

  /// In milliseconds. etcd raises what is too short; a time in milliseconds is our own and refused instead, for whoever
  /// counts on half a second must not get two.
  private func timeToLive(of message: Etcdserverpb_LeaseGrantRequest) throws(RPCStatus) -> Int64 {
    let limits = core.configuration.limits
    if message.ttl > limits.maxLeaseSeconds || message.ttlMs > limits.maxLeaseSeconds * 1000 {
      throw .etcd(.outOfRange, "too large lease TTL")
    }
    if message.ttlMs == 0 { return max(message.ttl, core.configuration.minimumLeaseSeconds) * 1000 }
    guard message.ttlMs >= limits.minGrantMilliseconds else {
      throw RPCStatus(
        code: .invalidArgument,
        message: "ttl_ms is at least \(limits.minGrantMilliseconds), this one is \(message.ttlMs)")
    }
    return message.ttlMs
  }

  /// In seconds, and in milliseconds where those do not say all of it. A lease that lives has a second at least: clients
  /// take 0 for its end.
  fileprivate static func told(_ ttlMilliseconds: Int64) -> (seconds: Int64, milliseconds: Int64) {
    (ttlMilliseconds == 0 ? 0 : max(1, ttlMilliseconds / 1000), ttlMilliseconds % 1000 == 0 ? 0 : ttlMilliseconds)
  }

  @Sendable private func revoke(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_LeaseRevokeRequest.self, from: body) else { return }
    call.submit(.leaseRevoke(message.id), to: core) { [core] _, snapshot, revision in
      var response = Etcdserverpb_LeaseRevokeResponse()
      response.header = core.header(revision: revision, term: snapshot.term)
      call.respond(response)
    }
  }

  @Sendable private func timeToLive(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Etcdserverpb_LeaseTimeToLiveRequest.self, from: body) else { return }
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkUser(call, in: snapshot)
        if message.keys { try core.checkListing(of: message.id, by: call, in: snapshot) }
        call.respond(Self.timeToLive(message, snapshot, core))
      } catch {
        call.fail(RPCStatus(error))
      }
    }
  }

  /// An unknown lease has a time to live of -1 and is no error.
  private static func timeToLive(
    _ message: Etcdserverpb_LeaseTimeToLiveRequest, _ snapshot: Snapshot, _ core: CoreAccess
  ) -> Etcdserverpb_LeaseTimeToLiveResponse {
    var response = Etcdserverpb_LeaseTimeToLiveResponse()
    response.header = core.header(snapshot)
    response.id = message.id
    guard let lease = snapshot.state.leases[message.id] else {
      response.ttl = -1
      return response
    }
    response.timeLeftMs = snapshot.timeLeftMilliseconds(of: lease.id)
    response.ttl = response.timeLeftMs / 1000
    response.grantedTtl = Self.told(lease.ttlMilliseconds).seconds
    response.grantedTtlMs = lease.ttlMilliseconds
    if message.keys { response.keys = lease.attachedKeys.map { Data($0.bytes) } }
    return response
  }

  @Sendable private func list(_ call: UnaryCall, _ body: ByteBuffer) {
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkListing(of: nil, by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      var response = Etcdserverpb_LeaseLeasesResponse()
      response.header = core.header(snapshot)
      response.leases = snapshot.state.leases.idsByDeadline.map { id in
        var status = Etcdserverpb_LeaseStatus()
        status.id = id
        return status
      }
      call.respond(response)
    }
  }
}

extension LeaseService {
  private static func leaseToRenew(_ call: StreamCall, _ message: ByteBuffer) -> LeaseID? {
    call.decode(Etcdserverpb_LeaseKeepAliveRequest.self, from: message)?.id
  }

  private static func answer(
    _ renewal: KeepAliveStream.Renewal, _ call: StreamCall, _ core: CoreAccess, _ snapshot: Snapshot
  ) {
    var response = Etcdserverpb_LeaseKeepAliveResponse()
    response.header = core.header(snapshot)
    response.id = renewal.lease
    (response.ttl, response.ttlMs) = told(renewal.ttlMilliseconds)
    _ = call.send(response)
  }
}

/// One KeepAlive stream, in whichever message's form: each request is answered when its renewal was applied; an unknown
/// lease is answered with a time to live of 0. `@unchecked Sendable`: used on the connection's event loop alone.
final class KeepAliveStream: @unchecked Sendable, StreamHandler {
  struct Renewal {
    let lease: LeaseID
    /// 0 when there is no such lease.
    let ttlMilliseconds: Int64
  }

  private let call: StreamCall
  private let core: CoreAccess
  private let lease: (StreamCall, ByteBuffer) -> LeaseID?
  private let answer: (Renewal, Snapshot) -> Void
  private var inFlight = 0
  private var isHalfClosed = false
  private var isClosed = false

  /// - Parameters:
  ///   - lease: reads a request, or fails the call and answers nil.
  ///   - answer: sends an answer.
  init(
    _ call: StreamCall, core: CoreAccess, lease: @escaping (StreamCall, ByteBuffer) -> LeaseID?,
    answer: @escaping (Renewal, Snapshot) -> Void
  ) {
    self.call = call
    self.core = core
    self.lease = lease
    self.answer = answer
  }

  func received(_ message: ByteBuffer) {
    guard let id = lease(call, message) else { return closed() }
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return fail(error) }
    inFlight += 1
    renew(id, by: caller)
  }

  private func renew(_ id: LeaseID, by caller: Caller?) {
    core.submit(.leaseRenew(id), by: caller, on: call.eventLoop) { [self] answer in
      if !isClosed, let caller, let again = core.caller(of: call, after: answer, by: caller) {
        return renew(id, by: again)
      }
      inFlight -= 1
      if !isClosed { settle(id, answer) }
      finishWhenDone()
    }
  }

  private func settle(_ id: LeaseID, _ outcome: Answer) {
    switch outcome {
    case .applied(.leaseRenewed(_, let ttlMilliseconds), let snapshot, _):
      answer(Renewal(lease: id, ttlMilliseconds: ttlMilliseconds), snapshot)
    case .applied(.failed(.auth(let reason)), _, _): fail(RPCStatus(reason))
    case .applied(_, let snapshot, _): answer(Renewal(lease: id, ttlMilliseconds: 0), snapshot)
    case .refused(let refusal): fail(RPCStatus(refusal))
    case .tooLarge: fail(.tooLarge)
    case .timedOut: fail(.timedOut)
    case .stopping: fail(.stopping)
    case .done: preconditionFailure("only changes of the cluster end so")
    }
  }

  private func fail(_ status: RPCStatus) {
    isClosed = true
    call.finish(status)
  }

  func halfClosed() {
    isHalfClosed = true
    finishWhenDone()
  }

  private func finishWhenDone() {
    guard isHalfClosed, inFlight == 0, !isClosed else { return }
    isClosed = true
    call.finish()
  }

  func writable() {}
  func closed() { isClosed = true }
}
