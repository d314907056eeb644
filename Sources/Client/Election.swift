// Elections on grants: who holds the scope leads, and what it says of itself comes with its number in one answer.

import Protocol
import Wire

/// Who leads, at one revision.
public struct Leadership: Sendable {
  /// The leader's grant, with what it says of itself, and without its token; nil while nobody leads.
  public let leader: Grant?
  /// The newest number that ever led; 0 for none.
  public let lastNumber: Int64
  /// The store's revision at which this was so.
  public let revision: Int64

  init(_ response: Portcullis_V1_LeaderResponse) {
    leader = response.hasLeader ? Grant(response.leader, response.evidence) : nil
    lastNumber = response.lastNumber
    revision = response.evidence.revision
  }
}

/// An election, named by a scope. Safe to share between tasks.
public struct Election: Sendable {
  /// What is led.
  public let scope: String
  let client: Portcullis

  /// Nothing is called yet.
  public init(_ scope: String, on client: Portcullis) {
    (self.scope, self.client) = (scope, client)
  }

  /// Stands for leadership and returns when it is won. The session then leads until it resigns, or is over.
  /// - Parameters:
  ///   - value: what the leader says of itself, mostly an address.
  ///   - wait: how long to stand in line.
  /// - Throws: `ClientError`; with code `held` when somebody else leads still.
  public func campaign(
    with session: Session, value: String = "", wait: Duration = .seconds(60)
  ) async throws(ClientError) -> Grant {
    var request = GrantRequest(scope)
    request.value = Array(value.utf8)
    request.wait = wait
    return try await session.acquire(request, path: RPCPath.Elections.campaign)[0]
  }

  /// Says something else of the leader.
  /// - Returns: the grant as it is now.
  /// - Throws: `ClientError`; with code `stale` when the grant does not lead any more, and then nothing was changed.
  @discardableResult
  public func proclaim(_ value: String, under grant: Grant) async throws(ClientError) -> Grant {
    try await proclaim(value, number: grant.number)
  }

  /// The same for one who knows no more than the number.
  @discardableResult
  public func proclaim(_ value: String, number: Int64) async throws(ClientError) -> Grant {
    var request = Portcullis_V1_ProclaimRequest()
    request.scope = scope
    request.number = number
    request.value = .init(value.utf8)
    let response: Portcullis_V1_ProclaimResponse
    do {
      response = try await client.call(
        RPCPath.Elections.proclaim, request, as: Portcullis_V1_ProclaimResponse.self, isRepeatable: true)
    } catch {
      throw ClientError(error, during: "proclaiming for \(scope)")
    }
    switch response.outcome {
    case .leader(let grant): return Grant(grant, response.evidence)
    case .refused(let refusal):
      throw ClientError(
        .stale, "number \(number) proclaims nothing for \(scope): \(refusal.reason); \(refusal.advice)",
        refusal: Refusal(refusal, response.evidence))
    case nil: throw ClientError(.failed, "the answer to proclaiming for \(scope) says nothing")
    }
  }

  /// Gives leadership up. A newer leader is left alone.
  /// - Throws: `ClientError` with code `sessionLost` when it had ended before.
  public func resign(_ grant: Grant) async throws(ClientError) {
    try await client.release(grant, path: RPCPath.Elections.resign)
  }

  /// The same for one who knows no more than the number.
  public func resign(number: Int64) async throws(ClientError) {
    var grant = Portcullis_V1_Grant()
    grant.scope = scope
    grant.number = number
    try await resign(Grant(grant, Portcullis_V1_Evidence()))
  }

  /// The leader, its number and what it says of itself, in one linearizable answer.
  public func leader() async throws(ClientError) -> Leadership {
    var request = Portcullis_V1_LeaderRequest()
    request.scope = scope
    do {
      return Leadership(
        try await client.call(
          RPCPath.Elections.leader, request, as: Portcullis_V1_LeaderResponse.self, isRepeatable: true))
    } catch {
      throw ClientError(error, during: "asking who leads \(scope)")
    }
  }

  /// The leader of now, each that follows, and what each proclaims. What lies between two looks may be left out: every element
  /// is the newest there was.
  public func observe() -> Leaders { Leaders(election: self) }
}

/// Who leads, as it changes, over the loss of nodes. It ends when its task is cancelled.
public struct Leaders: AsyncSequence, Sendable {
  let election: Election

  /// Not to be shared between tasks.
  public func makeAsyncIterator() -> Iterator { Iterator(election: election) }

  /// Where a reader is.
  public struct Iterator: AsyncIteratorProtocol {
    private let election: Election
    private var answers: AsyncThrowingStream<Portcullis_V1_LeaderResponse, any Error>.Iterator?
    private var told: (number: Int64, value: [UInt8])?

    init(election: Election) { self.election = election }

    /// The next leader, or the next thing that this one says; nil when the task was cancelled.
    /// - Throws: `ClientError` where trying again leads nowhere.
    public mutating func next() async throws -> Leadership? {
      while !Task.isCancelled {
        do {
          if let leadership = try await more() { return leadership }
        } catch let status as RPCStatus {
          answers = nil
          if Task.isCancelled { break }
          guard status.mayPass else { throw ClientError(status, during: "observing \(election.scope)") }
          try? await Task.sleep(for: .milliseconds(100))
        }
      }
      return nil
    }

    /// Nil for what a stream that was opened again tells a second time, and for news that are older: another node may be
    /// behind the one that was asked before.
    private mutating func more() async throws -> Leadership? {
      if answers == nil {
        var request = Portcullis_V1_LeaderRequest()
        request.scope = election.scope
        answers = try await election.client.open(
          RPCPath.Elections.observe, request, as: Portcullis_V1_LeaderResponse.self, metadata: [("hasleader", "true")]
        ).messages.makeAsyncIterator()
      }
      guard let answer = try await answers?.next() else {
        throw RPCStatus(.unavailable, "the server ended the stream")
      }
      let leadership = Leadership(answer)
      let now = (leadership.leader?.number ?? 0, leadership.leader?.value ?? [])
      if let told, told == now { return nil }
      told = now
      return leadership
    }
  }
}
