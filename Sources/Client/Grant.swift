// Acquiring, releasing and describing scopes.

import Protocol

/// Authority over a scope: a number that only rises, and a token that proves it.
public struct Grant: Sendable {
  /// What is held.
  public let scope: String
  /// The revision at which the grant was applied.
  public let number: Int64
  /// Raised by a restore of the cluster; numbers are ordered within one.
  public let incarnation: UInt64
  /// The id of the cluster that made the grant.
  public let cluster: UInt64
  /// The name under which the scope was acquired.
  public let holder: String
  /// A signed JWT; empty in a description of somebody else's grant.
  public let token: String
  /// What was left of the lease when the server answered.
  public let timeLeft: Duration

  init(_ grant: Portcullis_V1_Grant, _ evidence: Portcullis_V1_Evidence) {
    scope = grant.scope
    number = grant.number
    incarnation = evidence.incarnation
    cluster = evidence.clusterID
    holder = grant.holder
    token = grant.token
    timeLeft = .milliseconds(grant.timeLeftMs)
  }
}

/// What is known of a scope at one revision.
public struct ScopeDescription: Sendable {
  /// The store's revision at which this was read.
  public let revision: Int64
  /// The id of the cluster that answered.
  public let cluster: UInt64
  /// Of that cluster.
  public let incarnation: UInt64
  /// The current grant, without its token; nil when nobody holds the scope.
  public let grant: Grant?
  /// The names of those who wait, first come first.
  public let waiting: [String]
  /// The newest number ever granted for the scope; 0 for none.
  public let lastNumber: Int64
}

extension Session {
  /// Acquires a scope with this session.
  /// - Parameters:
  ///   - holder: a name by which others can tell who holds the scope. The same name and session get the same grant.
  ///   - wait: how long to queue when it is held; zero tries once.
  /// - Throws: `ClientError`; with code `held` when somebody else has it still.
  public func acquire(
    _ scope: String, holder: String, wait: Duration = .zero
  ) async throws(ClientError) -> Grant {
    var request = Portcullis_V1_AcquireRequest()
    request.scope = scope
    request.holder = holder
    request.lease = lease
    request.waitMs = wait.nanoseconds / 1_000_000
    let response: Portcullis_V1_AcquireResponse
    do {
      // Acquiring again with the same session and holder gives the same grant or the same place in the queue.
      response = try await portcullis.call(
        RPCPath.Authority.acquire, request, as: Portcullis_V1_AcquireResponse.self, isRepeatable: true,
        timeout: wait + .seconds(10))
    } catch {
      throw ClientError(error, during: "acquiring \(scope)")
    }
    switch response.outcome {
    case .granted(let grant): return Grant(grant, response.evidence)
    case .refused(let refusal):
      throw ClientError(.held, "\(scope) was not granted: \(refusal.reason); \(refusal.advice)")
    case nil:
      throw ClientError(.failed, "the answer to acquiring \(scope) says neither granted nor refused")
    }
  }

  /// Ends a grant of this session, and nobody else's: a newer grant is left alone.
  public func release(_ grant: Grant) async throws(ClientError) {
    var request = Portcullis_V1_ReleaseRequest()
    request.scope = grant.scope
    request.number = grant.number
    let response: Portcullis_V1_ReleaseResponse
    do {
      response = try await portcullis.call(
        RPCPath.Authority.release, request, as: Portcullis_V1_ReleaseResponse.self, isRepeatable: true)
    } catch {
      throw ClientError(error, during: "releasing \(grant.scope)")
    }
    if case .refused(let refusal) = response.outcome {
      throw ClientError(.sessionLost, "\(grant.scope) was not released: \(refusal.reason)")
    }
  }
}

extension Portcullis {
  /// Who holds a scope and who waits for it, read linearizably.
  public func describe(_ scope: String) async throws(ClientError) -> ScopeDescription {
    var request = Portcullis_V1_DescribeRequest()
    request.scope = scope
    do {
      let response = try await call(
        RPCPath.Authority.describe, request, as: Portcullis_V1_DescribeResponse.self, isRepeatable: true)
      return ScopeDescription(
        revision: response.evidence.revision, cluster: response.evidence.clusterID,
        incarnation: response.evidence.incarnation,
        grant: response.hasHolder ? Grant(response.holder, response.evidence) : nil,
        waiting: response.waiting.map(\.holder), lastNumber: response.lastNumber)
    } catch {
      throw ClientError(error, during: "describing \(scope)")
    }
  }

  /// The public keys that verify tokens of this cluster, as a JWKS (RFC 7517).
  public func keys() async throws(ClientError) -> String {
    do {
      return try await call(
        RPCPath.Authority.keys, Portcullis_V1_KeysRequest(), as: Portcullis_V1_KeysResponse.self, isRepeatable: true
      ).jwks
    } catch {
      throw ClientError(error, during: "fetching the public keys")
    }
  }
}
