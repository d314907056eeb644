// The writer's floors beyond one transaction: their copy outside of the file, and scopes that were closed.
//
// Must never open a closed scope below what the file, its copy or the core knows of it.

import FencingCore

extension Writer {
  /// Brings the copy up to the file. It follows the commit and goes before the answers: what is acknowledged is in both.
  func copyFloors() throws(SQLiteError) {
    guard let identity = try FenceTable.identity(in: connection) else {
      throw SQLiteError(code: SQLiteError.inputOutput, message: "the file's identity is gone")
    }
    var copy = FloorCopy(identity: identity, floors: try FenceTable.floors(in: connection))
    for (scope, closed) in counters.closedScopes {
      copy.closed.insert(scope)
      if let bound = closed.bound { copy.floors[scope] = bound }
    }
    try floorFile.write(copy)
  }

  /// Opens a closed scope with the core's word on it.
  func seed(_ job: SeedJob) {
    let result: Result<Floor, RequestFailure>
    do throws(RequestFailure) {
      result = .success(try seeded(job))
    } catch {
      rollBack()
      result = .failure(error)
    }
    publish()
    job.complete(result)
  }

  private func seeded(_ job: SeedJob) throws(RequestFailure) -> Floor {
    let scope = job.claims.scope
    // Without a disagreement there is nothing to decide: somebody else's seed came first.
    guard let closed = counters.closedScopes[scope] else { return job.claims.floor }
    try begin()
    let inFile: Floor?
    do throws(SQLiteError) {
      if !hasFenceTable { try FenceTable.create(in: connection) }
      inFile = try FenceTable.floor(of: scope, in: connection)
    } catch {
      throw failure(of: error)
    }
    let new = try highest(of: job.claims, known: [inFile, closed.bound].compactMap { $0 })
    do throws(SQLiteError) {
      if new.cluster != inFile?.cluster || new.authority != inFile?.authority {
        try FenceTable.raise(scope, from: inFile, to: new, in: connection)
      }
      counters.closedScopes[scope] = nil
      isRaising = true
      try commit()
      hasFenceTable = true
    } catch {
      counters.closedScopes[scope] = closed
      throw failure(of: error)
    }
    return new
  }

  /// The core's word, unless the file or its copy know of more. Another cluster's word counts only where it is adopted.
  private func highest(of claims: FenceClaims, known: [Floor]) throws(RequestFailure) -> Floor {
    var highest = claims.floor
    for floor in known {
      guard floor.cluster == claims.cluster else {
        if claims.cluster == scopes.adoptedCluster { continue }
        throw .refused(.otherCluster(seen: floor, presented: claims))
      }
      if floor.authority > highest.authority { highest = floor }
    }
    return highest
  }
}
