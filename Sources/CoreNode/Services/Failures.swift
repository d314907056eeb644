// The words and codes in which etcd's clients expect to be refused. Clients compare them letter by letter.

import CoordinationCore
import NIOCore
import RaftCore
import SwiftProtobuf
import Wire

extension RPCStatus {
  static func etcd(_ code: RPCCode, _ text: String) -> RPCStatus {
    RPCStatus(code: code, message: "etcdserver: " + text)
  }

  init(_ error: RequestError) {
    self =
      switch error {
      case .keyNotProvided: .etcd(.invalidArgument, "key is not provided")
      case .keyNotFound: .etcd(.invalidArgument, "key not found")
      case .valueProvided: .etcd(.invalidArgument, "value is provided")
      case .leaseProvided: .etcd(.invalidArgument, "lease is provided")
      case .leaseNotFound: .etcd(.notFound, "requested lease not found")
      case .leaseExists: .etcd(.failedPrecondition, "lease already exists")
      case .duplicateKey: .etcd(.invalidArgument, "duplicate key given in txn request")
      case .tooManyOperations: .etcd(.invalidArgument, "too many operations in txn request")
      case .unknownChoice(let text): .etcd(.invalidArgument, text)
      case .compacted: .etcd(.outOfRange, "mvcc: required revision has been compacted")
      case .futureRevision: .etcd(.outOfRange, "mvcc: required revision is a future revision")
      case .spaceExceeded: .etcd(.resourceExhausted, "mvcc: database space exceeded")
      case .corruptCluster: .etcd(.dataLoss, "corrupt cluster")
      case .auth(let reason): RPCStatus(reason)
      case .malformedCommand(let text): RPCStatus(code: .internalError, message: text)
      case .clientExpired(let id):
        RPCStatus(
          code: .failedPrecondition,
          message: "client \(id) is not known (any more), so the request was not carried out now; whether an earlier"
            + " attempt was is unknown. Open a new client.")
      case .sequenceForgotten(let name):
        RPCStatus(
          code: .outOfRange,
          message: "request \(name.sequence) of client \(name.client) is not remembered any more, so it was not carried"
            + " out now; an earlier attempt may have been")
      case .sequenceReused(let name):
        RPCStatus(
          code: .invalidArgument, message: "request \(name.sequence) of client \(name.client) was another one before")
      }
  }

  /// A refusal was certainly not carried out, and its caller is told so: in a trailer, for the text is etcd's.
  init(_ refusal: Refusal) {
    self =
      switch refusal {
      case .noLeader, .leaderSilent: .etcd(.unavailable, "no leader")
      case .leadershipTransfer, .leadershipLost: .etcd(.unavailable, "leader changed")
      case .tooManyUncommittedBytes, .tooManyReads: .etcd(.resourceExhausted, "too many requests")
      case .storageFull: .etcd(.resourceExhausted, "mvcc: database space exceeded")
      case .membershipChangeUnderWay: .etcd(.unavailable, "unhealthy cluster")
      case .noSuchMember: .memberNotFound
      case .alreadyMember: .etcd(.failedPrecondition, "member ID already exist")
      case .learnerIsBehind:
        .etcd(.failedPrecondition, "can only promote a learner member which is in sync with leader")
      case .tooManyLearners: .etcd(.failedPrecondition, "too many learner members in cluster")
      case .noVoterWouldRemain: .notEnoughStarted
      case .malformedChange: RPCStatus(code: .internalError, message: "the change of members could not be read")
      }
    trailers = [Self.notApplied]
  }

  /// Says whether what failed may have been carried out.
  static let outcomeTrailer = "portcullis-outcome"
  static let notApplied = Trailer(name: outcomeTrailer, value: "not-applied")
  static let unknown = Trailer(name: outcomeTrailer, value: "unknown")

  static let invalidURLs = etcd(.invalidArgument, "given member URLs are invalid")
  static let memberNotFound = etcd(.notFound, "member not found")
  /// etcd itself hands this on without a code.
  static let notEnoughStarted = etcd(.unknown, "re-configuration failed due to not enough started members")
  static let tooLarge = RPCStatus(
    code: .invalidArgument, message: "etcdserver: request is too large", trailers: [notApplied])
  static let timedOut = RPCStatus(code: .unavailable, message: "etcdserver: request timed out", trailers: [unknown])
  static let stopping = RPCStatus(code: .unavailable, message: "etcdserver: server stopped", trailers: [unknown])

  init(_ failure: ReadFailure) {
    self =
      switch failure {
      case .refused(let refusal): RPCStatus(refusal)
      case .timedOut: .timedOut
      case .stopping: .stopping
      }
  }
}

extension Answer {
  /// The outcome of a command that was applied and did not fail, or the status to answer with.
  func outcome() throws(RPCStatus) -> (Outcome, Snapshot) {
    switch self {
    case .applied(.failed(let error), _, _): throw RPCStatus(error)
    case .applied(let outcome, let snapshot, _): return (outcome, snapshot)
    case .refused(let refusal): throw RPCStatus(refusal)
    case .tooLarge: throw .tooLarge
    case .timedOut: throw .timedOut
    case .stopping: throw .stopping
    case .done: preconditionFailure("only changes of the cluster end so")
    }
  }

  /// The snapshot that shows a change of members or of the leader, or the status to answer with.
  func snapshotWhenDone() throws(RPCStatus) -> Snapshot {
    switch self {
    case .done(let snapshot): return snapshot
    case .refused(let refusal): throw RPCStatus(refusal)
    case .tooLarge: throw .tooLarge
    case .timedOut: throw .timedOut
    case .stopping: throw .stopping
    case .applied: preconditionFailure("only commands end so")
    }
  }
}

extension UnaryCall {
  /// Reads the request, or answers as a Go server does to bytes that are none.
  func decode<Request: SwiftProtobuf.Message>(_ type: Request.Type, from body: ByteBuffer) -> Request? {
    guard let request = try? Request(received: body) else {
      fail(RPCStatus(code: .internalError, message: "grpc: error unmarshalling request: proto: cannot parse"))
      return nil
    }
    return request
  }

  /// Calls `body` with a snapshot that shows everything acknowledged before the call, or fails the call.
  func read(_ core: CoreAccess, _ body: @escaping @Sendable (Snapshot) -> Void) {
    core.readLinearizably(on: eventLoop) { [self] result in
      switch result {
      case .failure(let failure): fail(RPCStatus(failure))
      case .success(let snapshot): body(snapshot)
      }
    }
  }

  /// Calls `body` with the outcome and its snapshot, or fails the call.
  func answer(_ answer: Answer, _ body: (Outcome, Snapshot) -> Void) {
    do throws(RPCStatus) {
      let (outcome, snapshot) = try answer.outcome()
      body(outcome, snapshot)
    } catch {
      fail(error)
    }
  }
}

extension StreamCall {
  func decode<Request: SwiftProtobuf.Message>(_ type: Request.Type, from body: ByteBuffer) -> Request? {
    guard let request = try? Request(received: body) else {
      finish(RPCStatus(code: .internalError, message: "grpc: error unmarshalling request: proto: cannot parse"))
      return nil
    }
    return request
  }
}
