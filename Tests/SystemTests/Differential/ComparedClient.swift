// One server's side of a comparison: it performs steps and says what came of them.

import Foundation
import NIOCore
import Protocol
import Synchronization
import Wire

final class ComparedClient: Sendable {
  let name: String
  let watches: ComparedWatches
  private let connection: WireConnection
  private let stream: ClientStream
  private let signal: ComparedSignal
  private let known = Mutex(Known())

  /// What differs from server to server and is handed back to the one that it came from.
  private struct Known {
    var leaders: [Int64: V3electionpb_LeaderKey] = [:]
    var tokens: [String: String] = [:]
    /// What somebody came in with last.
    var passwords: [String: String] = [:]
    var isAuthEnabled = false
  }

  init(_ server: ComparedServer, signal: ComparedSignal) {
    name = server.name
    connection = server.connection
    self.signal = signal
    watches = ComparedWatches(signal: signal)
    stream = connection.openStream(RPCPath.Watch.watch, handler: watches)
  }

  /// Everything but `settle`, which takes both sides.
  func perform(_ step: ComparedStep) async -> ComparedOutcome {
    switch step {
    case .call(let call): await perform(call)
    case .keepAlive(let lease): await keepAlive(lease)
    case .watch(let request): await watch(request)
    case .cancelWatch(let id): await cancelWatch(id)
    case .progress: await progress()
    case .compact(let revision, let physical): await compact(revision, physical: physical)
    case .campaign(let request): await campaign(request)
    case .leading(let what, let lease): await perform(what, lease)
    case .login(let user, let password): await login(user, password)
    case .settle: preconditionFailure("a run settles both sides")
    }
  }

  private func perform(_ call: ComparedCall) async -> ComparedOutcome {
    let outcome = await call.perform(over: connection, token: token(of: call.user))
    known.withLock { known in
      if outcome.text.hasPrefix("error ") { return }
      if call.name == "AuthEnable" { known.isAuthEnabled = true }
      if call.name == "AuthDisable" { known.isAuthEnabled = false }
    }
    // How long tokens live differs: theirs end with the server's memory of them, ours with their time. A client that is
    // told so logs in again.
    guard outcome.text.hasSuffix("invalid auth token"), let user = call.user,
      let password = known.withLock({ $0.passwords[user] })
    else { return outcome }
    let entered = await login(user, password)
    return entered.text.hasPrefix("error ") ? entered : await call.perform(over: connection, token: token(of: user))
  }

  /// etcd 3.5.1 refuses a token that it does not know even where nobody needs one, so none is sent there.
  private func token(of user: String?) -> String? {
    guard let user else { return nil }
    return known.withLock { $0.isAuthEnabled ? $0.tokens[user] ?? "no such token" : nil }
  }

  private func compact(_ revision: Int64, physical: Bool) async -> ComparedOutcome {
    var request = Etcdserverpb_CompactionRequest()
    request.revision = revision
    request.physical = physical
    return await perform(ComparedCall(RPCPath.KV.compact, request, as: Etcdserverpb_CompactionResponse.self))
  }

  // MARK: Watching

  private func send(_ request: Etcdserverpb_WatchRequest.OneOf_RequestUnion) {
    var message = Etcdserverpb_WatchRequest()
    message.requestUnion = request
    try? stream.send(message)
  }

  func watch(_ request: Etcdserverpb_WatchCreateRequest) async -> ComparedOutcome {
    let before = watches.createdCount
    send(.createRequest(request))
    _ = await signal.wait { [watches] in watches.createdCount > before || watches.ended != nil }
    return ComparedOutcome(watches.created(before))
  }

  /// An unknown watch is cancelled without an answer; a known one is told of in its log.
  func cancelWatch(_ id: Int64) async -> ComparedOutcome {
    let isOpen = watches.open.contains(id)
    var request = Etcdserverpb_WatchCancelRequest()
    request.watchID = id
    send(.cancelRequest(request))
    guard isOpen else { return ComparedOutcome("nothing to cancel") }
    let isDone = await signal.wait { [watches] in !watches.open.contains(id) || watches.ended != nil }
    return ComparedOutcome(isDone ? "cancelled" : "no answer")
  }

  /// As a careful client does.
  func cancelCompacted() {
    for id in watches.compacted {
      var request = Etcdserverpb_WatchCancelRequest()
      request.watchID = id
      send(.cancelRequest(request))
    }
  }

  private func progress() async -> ComparedOutcome {
    let before = watches.progressCount
    send(.progressRequest(Etcdserverpb_WatchProgressRequest()))
    _ = await signal.wait { [watches] in watches.progressCount > before || watches.ended != nil }
    return ComparedOutcome(watches.progress(before))
  }

  // MARK: Streams and keys that belong together

  /// One renewal on a stream of its own.
  private func keepAlive(_ lease: Int64) async -> ComparedOutcome {
    await withCheckedContinuation { continuation in
      let stream = connection.openStream(RPCPath.Lease.leaseKeepAlive, handler: OneAnswer(continuation))
      var request = Etcdserverpb_LeaseKeepAliveRequest()
      request.id = lease
      try? stream.send(request)
      stream.halfClose()
    }
  }

  /// The first answer of a stream, or how it ended.
  private final class OneAnswer: ClientStreamHandler {
    private let continuation: Mutex<CheckedContinuation<ComparedOutcome, Never>?>

    init(_ continuation: CheckedContinuation<ComparedOutcome, Never>) { self.continuation = Mutex(continuation) }

    func received(_ message: ByteBuffer) {
      let answer = try? Etcdserverpb_LeaseKeepAliveResponse(received: message)
      finish(answer.map { ComparedOutcome($0) } ?? ComparedOutcome("an answer that is none"))
    }

    func closed(_ status: RPCStatus) { finish(ComparedOutcome(status)) }

    private func finish(_ outcome: ComparedOutcome) {
      let waiting = continuation.withLock { continuation in
        defer { continuation = nil }
        return continuation
      }
      waiting?.resume(returning: outcome)
    }
  }

  private func campaign(_ request: V3electionpb_CampaignRequest) async -> ComparedOutcome {
    do throws(RPCStatus) {
      let answer = try await connection.unary(
        RPCPath.Election.campaign, request, as: V3electionpb_CampaignResponse.self, deadline: .now() + .seconds(20))
      known.withLock { $0.leaders[request.lease] = answer.leader }
      return ComparedOutcome(answer)
    } catch {
      return ComparedOutcome(error)
    }
  }

  private func perform(_ what: ComparedLeading, _ lease: Int64) async -> ComparedOutcome {
    let leader = known.withLock { $0.leaders[lease] }
    switch what {
    case .proclaim(let value):
      var request = V3electionpb_ProclaimRequest()
      if let leader { request.leader = leader }
      request.value = value
      return await perform(
        ComparedCall(RPCPath.Election.proclaim, request, as: V3electionpb_ProclaimResponse.self))
    case .resign:
      var request = V3electionpb_ResignRequest()
      if let leader { request.leader = leader }
      return await perform(ComparedCall(RPCPath.Election.resign, request, as: V3electionpb_ResignResponse.self))
    }
  }

  private func login(_ user: String, _ password: String) async -> ComparedOutcome {
    var request = Etcdserverpb_AuthenticateRequest()
    request.name = user
    request.password = password
    do throws(RPCStatus) {
      let answer = try await connection.unary(
        RPCPath.Auth.authenticate, request, as: Etcdserverpb_AuthenticateResponse.self, deadline: .now() + .seconds(20))
      known.withLock { known in
        known.tokens[user] = answer.token
        known.passwords[user] = password
      }
      return ComparedOutcome(answer)
    } catch {
      return ComparedOutcome(error)
    }
  }
}
