"""Accounts over gRPC, as their owners use them."""

from typing import Any, Final

import grpc

from auth.password_changes import PasswordChanges
from auth.second_factors import SecondFactors
from auth.sign_ups import SignUps
from geomesh.auth.v1 import account_pb2 as pb
from geomesh.auth.v1.account_pb2_grpc import AccountServiceServicer
from meshkit.context import address_of, current

_NEVER_KEPT: Final = (("cache-control", "no-store"),)

Context = grpc.aio.ServicerContext[Any, Any]


class AccountServicer(AccountServiceServicer):
    """Translates."""

    def __init__(self, sign_ups: SignUps, passwords: PasswordChanges, second_factors: SecondFactors) -> None:
        """Takes the domain."""
        self._sign_ups = sign_ups
        self._passwords = passwords
        self._second_factors = second_factors

    async def SignUp(self, request: pb.SignUpRequest, context: Context) -> pb.SignUpResponse:
        """Sends a token."""
        await self._sign_ups.sign_up(request.email, address_of(context))
        return pb.SignUpResponse()

    async def CompleteSignUp(self, request: pb.CompleteSignUpRequest, context: Context) -> pb.CompleteSignUpResponse:
        """Makes the account."""
        made = await self._sign_ups.complete(request.sign_up_token, request.password, address_of(context))
        return pb.CompleteSignUpResponse(user_id=made.id, tenant_id=made.tenant)

    async def ChangePassword(self, request: pb.ChangePasswordRequest, context: Context) -> pb.ChangePasswordResponse:
        """Replaces the password."""
        caller = current().identity
        await self._passwords.change(caller, request.old_password, request.new_password, address_of(context))
        return pb.ChangePasswordResponse()

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: Context
    ) -> pb.RequestPasswordResetResponse:
        """Sends a token."""
        await self._passwords.request_reset(request.email, address_of(context))
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> pb.ResetPasswordResponse:
        """Sets the password."""
        await self._passwords.reset(request.reset_token, request.new_password, address_of(context))
        return pb.ResetPasswordResponse()

    async def EnrolTotp(self, request: pb.EnrolTotpRequest, context: Context) -> pb.EnrolTotpResponse:
        """Makes a secret."""
        caller = current().identity
        secret, uri = await self._second_factors.enrol(caller, request.password, address_of(context))
        await context.send_initial_metadata(_NEVER_KEPT)
        return pb.EnrolTotpResponse(secret=secret, uri=uri)

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, context: Context) -> pb.ConfirmTotpResponse:
        """Puts the secret into use."""
        caller = current().identity
        codes = await self._second_factors.confirm(caller, request.totp_code, address_of(context))
        await context.send_initial_metadata(_NEVER_KEPT)
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def DisableTotp(self, request: pb.DisableTotpRequest, context: Context) -> pb.DisableTotpResponse:
        """Gives the second factor up."""
        caller = current().identity
        await self._second_factors.disable(caller, request.password, request.code, address_of(context))
        return pb.DisableTotpResponse()
