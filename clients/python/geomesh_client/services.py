"""What a mesh offers, one attribute a service. Written by `make protos`; do not edit."""

from typing import TYPE_CHECKING, Final

import grpc

from geomesh.airquality.v1 import airquality_pb2, airquality_pb2_grpc, alerts_pb2, alerts_pb2_grpc
from geomesh.auth.v1 import account_pb2, account_pb2_grpc, admin_pb2, admin_pb2_grpc, auth_pb2, auth_pb2_grpc
from geomesh.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from geomesh.geocoder.v1 import geocoder_pb2, geocoder_pb2_grpc
from geomesh.spatial_index.v1 import spatial_index_pb2, spatial_index_pb2_grpc
from geomesh.trajectory.v1 import trajectory_pb2, trajectory_pb2_grpc

if TYPE_CHECKING:
    from geomesh.airquality.v1.airquality_pb2_grpc import AirQualityServiceAsyncStub
    from geomesh.airquality.v1.alerts_pb2_grpc import AlertServiceAsyncStub
    from geomesh.auth.v1.account_pb2_grpc import AccountServiceAsyncStub
    from geomesh.auth.v1.admin_pb2_grpc import AdminServiceAsyncStub
    from geomesh.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub
    from geomesh.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub
    from geomesh.geocoder.v1.geocoder_pb2_grpc import GeocoderServiceAsyncStub
    from geomesh.spatial_index.v1.spatial_index_pb2_grpc import SpatialIndexServiceAsyncStub
    from geomesh.trajectory.v1.trajectory_pb2_grpc import TrajectoryServiceAsyncStub

SERVICES: Final = (
    account_pb2.DESCRIPTOR.services_by_name["AccountService"],
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    airquality_pb2.DESCRIPTOR.services_by_name["AirQualityService"],
    alerts_pb2.DESCRIPTOR.services_by_name["AlertService"],
    auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
    gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
    geocoder_pb2.DESCRIPTOR.services_by_name["GeocoderService"],
    spatial_index_pb2.DESCRIPTOR.services_by_name["SpatialIndexService"],
    trajectory_pb2.DESCRIPTOR.services_by_name["TrajectoryService"],
)
"""What the protos say of each."""


class Services:
    """The services of a mesh, each with a method for every RPC.

    Attributes:
        account: geomesh.auth.v1.AccountService.
        admin: geomesh.auth.v1.AdminService.
        airquality: geomesh.airquality.v1.AirQualityService.
        alert: geomesh.airquality.v1.AlertService.
        auth: geomesh.auth.v1.AuthService.
        gateway: geomesh.gateway.v1.GatewayService.
        geocoder: geomesh.geocoder.v1.GeocoderService.
        spatial_index: geomesh.spatial_index.v1.SpatialIndexService.
        trajectory: geomesh.trajectory.v1.TrajectoryService.
    """

    def _offer(self, channel: grpc.aio.Channel) -> None:
        """Makes the attributes, whose calls go over `channel`."""
        self.account: AccountServiceAsyncStub = account_pb2_grpc.AccountServiceStub(channel)
        self.admin: AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
        self.airquality: AirQualityServiceAsyncStub = airquality_pb2_grpc.AirQualityServiceStub(channel)
        self.alert: AlertServiceAsyncStub = alerts_pb2_grpc.AlertServiceStub(channel)
        self.auth: AuthServiceAsyncStub = auth_pb2_grpc.AuthServiceStub(channel)
        self.gateway: GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(channel)
        self.geocoder: GeocoderServiceAsyncStub = geocoder_pb2_grpc.GeocoderServiceStub(channel)
        self.spatial_index: SpatialIndexServiceAsyncStub = spatial_index_pb2_grpc.SpatialIndexServiceStub(channel)
        self.trajectory: TrajectoryServiceAsyncStub = trajectory_pb2_grpc.TrajectoryServiceStub(channel)
